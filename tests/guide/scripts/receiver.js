'use strict';
// The verifying receiver, on the Express that was asked for: a CRM that keeps activities and files.

module.exports = async ({ given, sample, run, say, receive, until, notebook }) => {
  const console = notebook();
  const activities = [];
  const files = [];
  const crm = {
    findContact: async (externalId) => ({ id: `contact of ${externalId}` }),
    createActivity: async (activity) => activities.push(activity),
    uploadAttachment: async ({ data, ...file }) => files.push({ ...file, data: Buffer.from(data).toString('base64') }),
  };
  const names = {
    console,
    crm,
    fetch: require('node-fetch'), // of version 2: its answers have the `buffer()` that the sample calls
    require: (name) => require(name === 'express' ? given.express : name),
  };
  const verifier = await run(sample('function verifyWebhook'), names);
  names.verifyWebhook = verifier('verifyWebhook');
  const app = (await run(sample("app.post('/webhooks/messages'"), names))('app');

  const endpoint = await receive(app, '/webhooks/messages', ['message.received', 'message.sent']);
  process.env.WEBHOOK_SECRET = endpoint.secret;
  await say(given.text);
  await until(() => activities.length === 1);
  await say('The receipt', { file: { filename: 'receipt.pdf', mime: 'application/pdf', data: given.file } });
  await until(() => files.length === 1 && activities.length === 2);

  const forged = await fetch(endpoint.url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'X-Webhook-Timestamp': `${Math.floor(Date.now() / 1000)}`,
      'X-Webhook-Signature': 'a'.repeat(64),
    },
    body: JSON.stringify({ event: 'message.received', data: {} }),
  });
  return { activities, files, lines: console.lines, forged: forged.status, endpoint };
};
