'use strict';
// The import of 5,000 customers, with what the CRM then holds.

module.exports = async ({ given, sample, run, notebook }) => {
  const console = notebook();
  const people = Array.from({ length: given.count }, (_, i) => ({
    crm_id: `003${String(i).padStart(9, '0')}`,
    full_name: `Customer ${i}`,
    email: i % 3 ? `customer-${i}@example.com` : undefined,
    phone: `+35387${1000000 + i}`,
    whatsapp: i % 2 ? `+35387${1000000 + i}` : null,
    tags: i % 5 ? undefined : ['imported', 'è'],
    ...given.spoilt?.[i],
  }));
  const declared = await run(sample('importCustomers(customers)'), { fetch, console, fetchCustomersFromCRM: async () => people });
  return { results: declared('results'), lines: console.lines };
};
