// Settings: tabs, a call to try, the key that is shown once, and a log that goes on by itself.
(() => {
  const {$, $$} = alc;

  // A call with a key, from here: what an integration would get.
  async function call(key, out) {
    out.innerHTML = '<span class="spin"></span> Calling…';
    const start = performance.now();
    let line, good = false;
    try {
      const answer = await fetch('/functions/v1/api-customers?limit=1', {headers: {'x-api-key': key}, cache: 'no-store'});
      const ms = Math.round(performance.now() - start), data = await answer.json().catch(() => ({}));
      good = answer.ok;
      line = good ? `${answer.status} OK in ${ms} ms. The key works.` : `${answer.status} in ${ms} ms: ${data.error?.message || 'refused'}`;
    } catch { line = 'The server cannot be reached.'; }
    const badge = Object.assign(document.createElement('span'), {className: `banner round ${good ? 'ok' : 'bad'}`, textContent: line});
    out.replaceChildren(badge);
  }
  document.addEventListener('submit', e => {
    if (!e.target.matches('[data-run]')) return;
    e.preventDefault();
    call(e.target.key.value.trim(), $('[data-result]', e.target.closest('.card')));
  });

  // The dialog with a new key does not close by accident.
  const once = () => $('#sheet [data-once]');
  const stored = () => $('[data-stored]', once() || document)?.checked;
  document.addEventListener('change', e => {
    if (e.target.matches('[data-stored]')) $('[data-done]').setAttribute('aria-disabled', !e.target.checked);
  });
  const remind = e => { e.preventDefault(); alc.toast({text: 'Store the key first: it is not shown again.', bad: true}); $('[data-stored]').focus(); };
  document.addEventListener('click', e => { if (e.target.closest('[data-done]') && !stored()) remind(e); });
  document.addEventListener('cancel', e => { if (once() && !stored()) remind(e); }, true);
  document.addEventListener('htmx:afterSwap', e => { if (e.detail.target.id === 'sheet') e.detail.target.toggleAttribute('data-hold', !!once()); });

  Object.assign(alc.acts, {
    'test-key': button => call($(button.dataset.key).textContent, $('[data-result]', button.parentElement)),
    'copy-tab': button => alc.copy(Object.assign(button, {dataset: button.dataset}), button.dataset.copy = '#' + $('[role=tabpanel]:not([hidden])', button.closest('.card')).id),
    pause(button) {
      const on = button.getAttribute('aria-pressed') !== 'true';
      button.setAttribute('aria-pressed', on);
      button.lastElementChild.textContent = on ? 'Live' : 'Paused';
      $('.dot', button).classList.toggle('ok', on);
    },
  });

  // Tabs, with the arrows.
  const choose = tab => {
    for (const one of $$('[role=tab]', tab.parentElement)) {
      const on = one === tab;
      one.setAttribute('aria-selected', on);
      one.tabIndex = on ? 0 : -1;
      document.getElementById(one.getAttribute('aria-controls')).hidden = !on;
    }
  };
  document.addEventListener('click', e => { const tab = e.target.closest('[role=tab]'); if (tab) choose(tab); });
  document.addEventListener('keydown', e => {
    if (!e.target.matches('[role=tab]') || !['ArrowLeft', 'ArrowRight'].includes(e.key)) return;
    const tabs = $$('[role=tab]', e.target.parentElement), at = tabs.indexOf(e.target) + (e.key === 'ArrowRight' ? 1 : -1);
    const tab = tabs[(at + tabs.length) % tabs.length];
    tab.focus();
    choose(tab);
  });

  document.addEventListener('tick', () => {
    for (const node of $$('time[data-ago]')) {
      const passed = (Date.now() - Date.parse(node.dateTime)) / 1000;
      if (passed < 86400) node.textContent = passed < 10 ? 'just now' : alc.span(passed) + ' ago';
    }
  });

  // The log goes on while somebody looks at its beginning and is not in it.
  setInterval(() => {
    const log = $('#log'), at = $('#calls');
    if (!log || document.hidden || $('dialog[open]') || $('[data-act=pause]', log).getAttribute('aria-pressed') !== 'true') return;
    if (at.contains(document.activeElement) || at.matches(':hover') || new URLSearchParams(location.search).has('cursor')) return;
    htmx.trigger($('form', log), 'submit');
  }, 3000);
})();
