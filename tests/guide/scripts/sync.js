'use strict';
// The call on each update in the CRM.

module.exports = async ({ given, sample, run, notebook }) => {
  const console = notebook();
  const declared = await run(sample('syncCustomerToChatPlatform'), { fetch, console });
  for (const contact of given.contacts) await declared('syncCustomerToChatPlatform')(contact);
  return console.lines;
};
