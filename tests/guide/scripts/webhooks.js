'use strict';
// Any payload at all, as real webhooks: verified by the guide's own function over what Express would hand it, and by
// the Standard Webhooks library. Bodies come from files; what was received goes into another, byte for byte.

const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const { Webhook } = require('standardwebhooks');

module.exports = async ({ given, sample, run, api, receive, until }) => {
  const verifyWebhook = (await run(sample('function verifyWebhook')))('verifyWebhook');
  const got = [];
  const app = http.createServer((req, res) => {
    const pieces = [];
    req.on('data', (piece) => pieces.push(piece));
    req.on('end', () => {
      got.push({ headers: req.headers, body: Buffer.concat(pieces) });
      res.end();
    });
  });
  const { secret } = await receive(app, '/', ['customer.created', 'customer.updated']);
  process.env.WEBHOOK_SECRET = secret;

  const sent = new Map();
  for (const file of given.files) {
    const text = fs.readFileSync(file, 'utf8');
    for (const { external_id, custom_fields } of JSON.parse(text).customers) {
      if (custom_fields) sent.set(external_id, custom_fields);
    }
    const response = await fetch(`${given.base_url}/functions/v1/api-customers-sync`, {
      method: 'POST',
      headers: { 'x-api-key': given.api_key, 'Content-Type': 'application/json' },
      body: text,
    });
    const { results } = await response.json();
    assert.strictEqual(results.failed, 0, JSON.stringify(results.details.filter(({ action }) => action === 'failed')[0]));
  }
  await until(() => got.length >= given.expected, 60);

  const failures = [];
  const library = new Webhook(secret);
  for (const { headers, body } of got) {
    const text = body.toString('utf8');
    try {
      assert.strictEqual(JSON.stringify(JSON.parse(text)), text);
      assert.ok(verifyWebhook({ headers, body: JSON.parse(text) }));
      library.verify(text, headers);
      const { external_id, custom_fields } = JSON.parse(text).data.customer;
      assert.deepStrictEqual(custom_fields, JSON.parse(JSON.stringify(sent.get(external_id))));
    } catch (error) {
      failures.push([text.slice(0, 3000), error.message.slice(0, 1000)]);
    }
  }
  fs.writeFileSync(
    given.received,
    got.map(({ headers, body }) => JSON.stringify({ headers, body: body.toString('base64') })).join('\n'),
  );
  return { received: got.length, failures, secret };
};
