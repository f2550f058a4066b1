'use strict';
// Sending with a file: the sample's own call, with its empty receipt.pdf.

module.exports = async ({ sample, run, notebook }) => {
  const console = notebook();
  const { File } = require('node:buffer');
  const declared = await run(sample('sendMessageFromCRM'), { fetch, FormData, File, console });
  const file = new File(['%PDF-1.4\n%%EOF\n'], 'invoice.pdf', { type: 'application/pdf' });
  const second = await declared('sendMessageFromCRM')('CRM-12345', 'whatsapp', 'And the invoice.', [file]);
  return { lines: console.lines, second };
};
