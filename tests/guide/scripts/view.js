'use strict';
// What a CRM shows of a customer.

module.exports = async ({ given, sample, run }) => {
  const shown = {};
  const names = {
    fetch,
    displayCustomer: (customer) => (shown.customer = customer),
    displayConversations: (conversations) => (shown.conversations = conversations),
  };
  const declared = await run(sample('loadCustomerConversations'), names);
  const data = await declared('loadCustomerConversations')(given.crm_id);
  return { shown, data };
};
