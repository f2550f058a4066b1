'use strict';
// The whole class. What it calls on itself and leaves out (Salesforce's side) is put in between class and usage.

module.exports = async ({ given, sample, run, say, receive, until }) => {
  const [declaration, usage] = sample('class AlacarteChatSalesforceIntegration').split('// Usage');
  const Integration = (await run(declaration, { fetch }))('AlacarteChatSalesforceIntegration');
  const tasks = [];
  const cases = [];
  Object.assign(Integration.prototype, {
    fetchSalesforceContacts: async () => given.contacts,
    createSalesforceTask: (data) => tasks.push(data),
    createSalesforceCase: (data) => cases.push(data),
  });
  const refusals = [];
  const express = require('express5');
  const app = express();
  let integration;
  app.post('/salesforce', express.json(), (req, res) => {
    try {
      integration.handleWebhook(req);
      res.sendStatus(200);
    } catch (error) {
      refusals.push(error.message);
      res.sendStatus(401);
    }
  });
  const endpoint = await receive(app, '/salesforce', ['message.received', 'conversation.created']);
  process.env.ALACARTE_API_KEY = given.api_key;
  process.env.ALACARTE_WEBHOOK_SECRET = endpoint.secret;
  const names = { fetch, AlacarteChatSalesforceIntegration: Integration, contactId: given.contacts[0].Id };
  integration = (await run(usage, names))('integration');
  const nothingYet = await integration.loadCustomerView(given.contacts[0].Id);

  await say(given.text, { from: given.contacts[0].Phone });
  await until(() => tasks.length === 1 && cases.length === 1);
  const view = await integration.loadCustomerView(given.contacts[0].Id);
  const wrong = { headers: { 'x-webhook-timestamp': '1', 'x-webhook-signature': 'a'.repeat(64) }, body: {} };
  let forged = 'accepted';
  try {
    integration.handleWebhook(wrong);
  } catch (error) {
    forged = error.message;
  }
  return { nothingYet, view, tasks, cases, refusals, forged };
};
