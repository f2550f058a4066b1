'use strict';
// The receiver that reads `data` flat. It leaves parsing to whoever mounts it.

module.exports = async ({ given, sample, run, api, say, receive, until, notebook }) => {
  const console = notebook();
  const activities = [];
  const told = [];
  const express = require(given.express);
  const app = express();
  app.use(express.json());
  const names = {
    app,
    console,
    createCRMActivity: (activity) => activities.push(activity),
    handleNewConversation: (data) => told.push(['conversation.created', data]),
    notifyAssignedAgent: (data) => told.push(['conversation.assigned', data]),
  };
  await run(sample("app.post('/webhooks/alacarte'"), names);

  const events = ['message.received', 'conversation.created', 'conversation.assigned', 'customer.updated'];
  const endpoint = await receive(app, '/webhooks/alacarte', events);
  process.env.ALACARTE_WEBHOOK_SECRET = endpoint.secret;
  await say(given.text, { from: '+353851234567', name: 'Jane Roe' });
  await until(() => activities.length === 1);
  const [, { conversation_id, customer_id }] = await until(() => told[0]);
  const { users } = await api('GET', 'api-users');
  await api('PATCH', `api-conversations?id=${conversation_id}`, { assignee_id: users[0].id });
  await api('PATCH', `api-customers?id=${customer_id}`, { notes: 'Called back' });
  await until(() => told.length === 2 && console.lines.some(([words]) => words === 'Unhandled event:'));
  return { activities, told, lines: console.lines };
};
