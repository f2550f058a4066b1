'use strict';
// The poll loop in quick motion: its interval passes in milliseconds. Stops when the last message was seen.

module.exports = async ({ given, sample, run, until }) => {
  const handled = [];
  const listed = [];
  const intervals = [];
  const names = {
    fetch: async (...call) => {
      const response = await fetch(...call);
      const { messages } = await response.clone().json();
      listed.push(...messages.map(({ id, content }) => [id, content]));
      return response;
    },
    processIncomingMessage: (message) => handled.push(message.id),
    setInterval: (poll, pause) => intervals.push([poll, pause]),
  };
  await run(sample('pollForNewMessages'), names);
  const [[poll, pause]] = intervals;
  process.stderr.write('polling\n');
  let polls = 0;
  await until(async () => {
    polls += 1;
    await poll();
    return listed.some(([, content]) => content === given.last);
  }, 60);
  return { handled, listed, pause, polls };
};
