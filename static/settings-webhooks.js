// Webhooks and CRM Integration: what refreshes itself, ticks, tabs, lines for headers, and the bar that names what is
// not saved. Each page works without it.
(() => {
  const {$, $$} = alc;

  // --- what goes on by itself, while somebody looks and is not in the middle of something ---
  const busy = node => node.contains(document.activeElement) && document.activeElement !== node || node.matches(':hover') && node.id === 'deliveries';
  const asked = new WeakMap();
  setInterval(() => {
    if (document.hidden || $('dialog[open]')) return;
    const now = Date.now();
    for (const node of $$('[data-refresh]')) {
      if (!asked.has(node)) asked.set(node, now);
      if (now - asked.get(node) < node.dataset.refresh * 1000 || node.id === 'delivery' && busy(node)) continue;
      asked.set(node, now);
      htmx.trigger(node, 'refresh');
    }
  }, 500);
  setInterval(() => {
    const log = $('#delivery-log'), rows = $('#deliveries');
    if (!log || document.hidden || $('dialog[open]') || $('[data-act=pause]', log).getAttribute('aria-pressed') !== 'true') return;
    if (busy(rows) || $('[name=delivery]:checked', rows) || new URLSearchParams(location.search).has('cursor')) return;
    htmx.trigger($('form', log), 'submit');
  }, 3000);
  setInterval(() => {
    for (const node of $$('time[data-in]')) {
      const left = Math.ceil((Date.parse(node.dateTime) - Date.now()) / 1000);
      node.textContent = left > 0 ? 'in ' + alc.span(left) : 'now';
    }
  }, 500);

  // --- the log: ticks, and the row that is open ---
  const count = () => {
    const button = $('[data-chosen]');
    if (!button) return;
    const n = $$('#deliveries [name=delivery]:checked').length;
    button.disabled = !n;
    button.lastElementChild.textContent = n ? `Replay ${n} ticked` : 'Replay the ticked';
    const all = $('#deliveries [data-all]');
    if (all) { all.checked = n > 0 && n === $$('#deliveries [name=delivery]').length; all.indeterminate = n > 0 && !all.checked; }
  };
  document.addEventListener('change', e => {
    if (e.target.matches('[data-all]')) $$('#deliveries [name=delivery]').forEach(box => { box.checked = e.target.checked; });
    if (e.target.closest('#deliveries')) count();
  });
  const openRow = id => $$('#deliveries tr').forEach(row => row.querySelector(`a[href$="${CSS.escape(id)}"]`) ? row.setAttribute('aria-current', 'true') : row.removeAttribute('aria-current'));
  document.addEventListener('htmx:afterSwap', e => {
    const target = e.detail.target;
    if (target?.id === 'delivery' && e.detail.requestConfig?.elt.matches('[data-row]')) {
      const shown = $('#delivery');
      openRow(e.detail.requestConfig.path.split('/').pop());
      if (shown.getBoundingClientRect().top > innerHeight - 120) shown.scrollIntoView({block: 'start'});
      alc.say(`${$('h3', shown)?.textContent || 'Delivery'}, opened`);
    }
    if (target?.id === 'deliveries') {
      const open = $('#delivery [name=delivery]')?.value;
      if (open) openRow(open);
      count();
    }
    ready();
  });

  // --- forms ---
  Object.assign(alc.acts, {
    'copy-field'(button) { button.dataset.copy = $('#' + button.dataset.from).value; alc.copy(button); },
    'new-secret'(button) {
      const bytes = crypto.getRandomValues(new Uint8Array(32));
      $('#' + button.dataset.to).value = 'whsec_' + btoa(String.fromCharCode(...bytes));
      alc.say('A new secret');
      note();
    },
    'all-events'() { $$('[data-events] [name=events]').forEach(box => { box.checked = true; }); note(); },
    'add-header'(button) {
      const last = $$('.header-line').at(-1), line = last.cloneNode(true), number = $$('.header-line').length + 1;
      $$('input', line).forEach(input => { input.value = ''; });
      $$('.vh', line).forEach((label, at) => { label.textContent = `${at ? 'Value' : 'Name'} of header ${number}`; });
      last.after(line);
      $('input', line).focus();
      button.hidden = number >= 20;
    },
    'add-origin'(button) {
      const box = $('#f-embed_origins');
      if (!box.value.split(/\s+/).includes(button.dataset.origin)) box.value = (box.value.trim() + '\n' + button.dataset.origin).trim();
      note();
    },
    discard() { $('form[data-saving]').reset(); preview(); note(); },
  });
  // A form's fields by their words; what differs from how it came is not saved yet.
  const differs = input => input.type === 'checkbox' || input.type === 'radio' ? input.checked !== input.defaultChecked
    : input.tagName === 'SELECT' ? [...input.options].some(o => o.selected !== o.defaultSelected) : input.value !== input.defaultValue;
  const unsaved = form => [...new Set([...form.elements].filter(input => input.dataset.label && differs(input)).map(input => input.dataset.label))];
  let leaving = false;
  function note() {
    const form = $('form[data-saving]');
    if (!form) return [];
    const names = unsaved(form), said = $('[data-unsaved]', form);
    said.textContent = names.length ? 'Unsaved: ' + names.join(', ') : form.dataset.saving === 'new' ? '' : 'Everything is saved';
    $$('[data-needs-change]', form).forEach(button => { button.hidden = !names.length; });
    return names;
  }
  document.addEventListener('input', e => { if (e.target.closest('form[data-saving]')) { note(); preview(); } });
  document.addEventListener('submit', e => { if (e.target.matches('form[data-saving]')) leaving = true; });
  addEventListener('beforeunload', e => { if (!leaving && note().length) e.preventDefault(); });

  function preview() {
    const pattern = $('[data-pattern]'), link = $('[data-preview]');
    if (!pattern) return;
    const good = /^https?:\/\/\S+$/.test(pattern.value) && pattern.value.includes('{external_id}');
    link.textContent = good ? pattern.value.replaceAll('{external_id}', link.dataset.preview) : 'needs https:// and {external_id}';
    good ? link.href = link.textContent : link.removeAttribute('href');
  }

  const ready = () => {
    $$('[data-tabs]:not([data-ready])').forEach(box => {
      const tab = $('[role=tab][aria-selected=true]', box);
      $$('[data-later]', box).forEach(pane => { pane.hidden = pane.id !== tab?.getAttribute('aria-controls'); });
      box.dataset.ready = '';
    });
    $$('[data-act=all-events], [data-act=add-header], [data-act=add-origin]').forEach(button => { button.hidden = false; });
  };
  document.addEventListener('DOMContentLoaded', () => { ready(); count(); note(); preview(); });
})();
