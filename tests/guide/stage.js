// Runs one script of scripts/: `node stage.js NAME '{"given": …}'` prints what it returns as JSON.
// A script runs the guide's JavaScript as it stands there, with nothing but the names that it leaves open put in.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const GUIDE = path.join(__dirname, '..', '..', 'docs', 'integration-guide.md');
const HOSTS = ['https://jrtlrnfdqfkjlkpfirzr.supabase.co', 'https://your-domain.com'];
const AsyncFunction = (async () => {}).constructor;

const given = JSON.parse(process.argv[3]);
const blocks = [...fs.readFileSync(GUIDE, 'utf8').matchAll(/^```javascript\n([\s\S]*?)^```$/gm)].map(([, code]) => code);

// Give the sample that holds these words, our host in the place of the guide's.
function sample(words) {
  const found = blocks.filter((code) => code.includes(words));
  if (found.length !== 1) throw new Error(`${found.length} samples hold “${words}”`);
  return HOSTS.reduce((code, host) => code.replaceAll(host, given.base_url), found[0]);
}

// Run code with these names in scope; give a function that looks up whatever the code has declared.
function run(code, names = {}) {
  const scope = { API_KEY: given.api_key, BASE_URL: `${given.base_url}/functions/v1`, require, console, ...names };
  return new AsyncFunction(...Object.keys(scope), `${code}\nreturn (name) => eval(name);`)(...Object.values(scope));
}

async function api(method, call, body) {
  const response = await fetch(`${given.base_url}/functions/v1/${call}`, {
    method,
    headers: { 'x-api-key': given.api_key, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${call}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

// Let a customer write, on the account that the test has connected.
async function say(text, more = {}) {
  const response = await fetch(`${given.sandbox_url}/control/whatsapp/say`, {
    method: 'POST',
    body: JSON.stringify({ account: given.phone_number_id, from: '+353871234567', name: 'John Doe', text, ...more }),
  });
  if (!response.ok) throw new Error(await response.text());
}

// Serve an Express application and register it as a webhook endpoint; give the endpoint with its secret.
async function receive(app, route, events) {
  const server = await new Promise((ready) => {
    const listening = app.listen(0, '127.0.0.1', () => ready(listening));
  });
  const url = `http://127.0.0.1:${server.address().port}${route}`;
  const { webhook } = await api('POST', 'api-webhooks', { name: 'A sample of the guide', url, events });
  return webhook;
}

async function until(look, seconds = 20) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`It did not happen in ${seconds} s: ${look}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

// A console that remembers.
function notebook() {
  const lines = [];
  const keep = (...words) => lines.push(words);
  return { lines, log: keep, error: keep };
}

require(`./scripts/${process.argv[2]}.js`)({ given, sample, run, api, say, receive, until, notebook }).then(
  (result) => process.stdout.write(JSON.stringify(result), () => process.exit(0)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
