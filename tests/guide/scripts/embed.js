'use strict';
// The iframe: a document that has just what the sample touches, and then what the address shows.

module.exports = async ({ given, sample, run }) => {
  const container = { children: [], appendChild: (child) => container.children.push(child) };
  const document = {
    createElement: (name) => ({ name, style: {} }),
    getElementById: (id) => (id === 'conversation-container' ? container : null),
  };
  const declared = await run(sample('embedConversationViewer'), { fetch, document });
  await declared('embedConversationViewer')(given.crm_id);
  const [iframe] = container.children;
  const page = await fetch(iframe.src);
  return { iframe, status: page.status, policy: page.headers.get('content-security-policy'), html: await page.text() };
};
