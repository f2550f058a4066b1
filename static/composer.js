// The composer, in the inbox and in the embed: its modes, its channels and their windows, what was begun. What writing
// itself needs is in writing.js, which comes with the first sign of a person.
// A note is sent from its own box to its own address, so that no slip of a mode makes it an answer.
(() => {
  const {$, $$, store} = alc;
  const form = el => el?.closest?.('[data-composer]') || $('[data-composer]');
  const mode = f => f.classList.contains('note') ? 'note' : 'reply';
  const box = (f, which = mode(f)) => document.getElementById(`body-${f.dataset.composer}-${which}`);
  const key = (f, which) => `draft:${document.body.dataset.user || ''}:${f.dataset.composer}:${which}`;
  const outbox = 'outbox:' + (document.body.dataset.user || '');
  const grow = area => { if (!CSS.supports('field-sizing', 'content')) area.rows = Math.min(12, Math.max(2, area.value.split('\n').length)); };
  const writing = () => alc.need('writing').then(() => alc.writer);

  // --- the channel ---
  const ways = f => $$(`[data-ways] [data-way]`, f);
  const way = f => ways(f).find(w => w.dataset.way === f.dataset.account) || ways(f)[0];
  const open = w => !+w.dataset.hours || Date.parse(w.dataset.closes) > Date.now();
  const usable = w => w.getAttribute('aria-disabled') !== 'true';
  function choose(f, id) { f.dataset.account = id; settle(f); }
  function settle(f) {
    const w = way(f);
    if (w) {
      f.dataset.account = w.dataset.way;
      for (const one of ways(f)) {
        one.setAttribute('aria-checked', one === w);
        $('[data-mark]', one).hidden = one !== w;
        const left = (Date.parse(one.dataset.closes) - Date.now()) / 1000;
        $('[data-state]', one).textContent = !+one.dataset.hours || !usable(one) ? '' : left > 0 ? ` · window open for ${alc.span(left)}` : ` · ${one.dataset.hours}-hour window is closed`;
      }
      const chosen = $('[data-chosen]', f);
      $('[data-label]', chosen).textContent = w.dataset.label;
      $('[data-address]', chosen).textContent = w.dataset.address;
      $('[data-glyph]', chosen).replaceChildren($('svg', w).cloneNode(true));
      const shut = !open(w) || !usable(w), left = (Date.parse(w.dataset.closes) - Date.now()) / 1000, badge = $('[data-window]', f);
      f.classList.toggle('shut', shut);
      badge.hidden = !+w.dataset.hours || (!shut && left > 4 * 3600);
      $('[data-stopped]', f).hidden = !('optedOut' in w.dataset);
      badge.className = 'badge in-reply ' + (shut ? 'bad' : 'warn');
      $('[data-left]', badge).textContent = shut ? 'closed' : alc.span(left);
      if (shut) {
        $('[data-reason]', f).textContent = usable(w) ? `${w.dataset.hours} hours have passed since the last message from this customer on ${w.dataset.label}. ${'hasTemplates' in w.dataset ? 'Only an approved template can be sent.' : 'Free text is not allowed now.'}` : w.dataset.optedOut || `This customer has no address on ${w.dataset.label}.`;
        const other = ways(f).find(one => one !== w && usable(one) && open(one)), button = $('[data-act=other-way]', f);
        button.hidden = !other;
        if (other) { button.textContent = `Use ${other.dataset.label}`; button.dataset.to = other.dataset.way; }
      }
      $$('.strip [data-act=templates], [data-templates-only]', f).forEach(b => { b.hidden = !('hasTemplates' in w.dataset); });
      const subject = $('.subject', f);
      subject.hidden = w.dataset.channel !== 'email' || (f.dataset.home === w.dataset.way);
    }
    count(f);
  }
  function count(f) {
    const w = way(f), node = $('[data-count]', f), text = box(f, 'reply').value;
    if (!w || !node) return true;
    const size = w.dataset.unit === 'bytes' ? new TextEncoder().encode(text).length : [...text].length, limit = +w.dataset.limit;
    node.textContent = w.dataset.channel === 'sms' && text ? alc.segments?.(text) || '' : limit < 100000 ? `${size}/${limit}` : '';
    node.className = 'cnt in-reply' + (size > limit ? ' over' : size > limit * .9 ? ' near' : '');
    return size <= limit;
  }

  // --- what was begun ---
  function recall(f) {
    for (const which of ['reply', 'note']) {
      const area = box(f, which);
      if (!area) continue;
      const kept = JSON.parse(store.get(key(f, which)) || 'null');
      if (kept) area.value = kept.text; else if (area.value) store.set(key(f, which), JSON.stringify({text: area.value, at: 0}));
      grow(area);
    }
  }
  const wake = () => {
    for (const f of $$('[data-composer]:not([data-awake])')) {
      f.dataset.awake = '';
      f.dataset.home = f.dataset.account;
      recall(f);
      settle(f);
      new MutationObserver(() => settle(f)).observe(f, {childList: true});
      if (alc.writer) alc.writer.wake(f); else if (store.get(outbox)) writing();
    }
  };
  document.addEventListener('DOMContentLoaded', wake);
  document.addEventListener('htmx:afterSettle', wake);
  document.addEventListener('htmx:historyRestore', wake);
  document.addEventListener('tick', () => $$('[data-composer]').forEach(settle));

  // --- what people do ---
  alc.write = (f, which) => {
    if (!f || (which === 'note' && !box(f, 'note'))) return;
    f.classList.toggle('note', which === 'note');
    $$('[data-mode]', f).forEach(b => b.setAttribute('aria-pressed', b.dataset.mode === which));
    if (!f.classList.contains('shut') || which === 'note') box(f).focus();
  };
  for (const sign of ['pointerdown', 'keydown', 'focusin', 'dragenter']) {
    document.addEventListener(sign, () => alc.writer || (form() && writing()), true);
  }
  // Until writing.js is here, Enter waits for it.
  document.addEventListener('keydown', e => {
    const f = !alc.writer && e.target.matches?.('[data-composer] textarea') && form(e.target);
    if (f && e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); writing().then(writer => writer.enter(f, e)); }
    if (e.key === 'Escape' && e.target.matches?.('[data-composer] textarea') && !$('.canned:not([hidden])')) e.target.blur();
  });
  document.addEventListener('submit', e => {
    if (e.target.matches('[data-composer]')) { e.preventDefault(); writing().then(writer => writer.send(e.target)); }
  });
  document.addEventListener('change', e => {
    if (!e.target.matches('[data-picker]')) return;
    const chosen = [...e.target.files];
    e.target.value = '';
    writing().then(writer => writer.attach(form(e.target), chosen));
  });
  document.addEventListener('click', e => {
    const f = form(e.target), on = name => e.target.closest?.(`[data-composer] [data-${name}]`);
    const chosen = on('mode'), other = on('way'), then = on('then');
    if (chosen) alc.write(f, chosen.dataset.mode);
    if (other && usable(other)) { choose(f, other.dataset.way); other.closest('.menu').hidePopover(); alc.say(`Sends by ${other.dataset.label}`); box(f).focus(); }
    if (then) { then.closest('.menu').hidePopover(); writing().then(writer => writer.send(f, {then: then.dataset.then})); }
  });
  alc.composer = {form, mode, box, key, way, count, settle, grow, outbox};
  for (const act of ['canned', 'quote', 'unquote']) alc.acts[act] = b => writing().then(writer => writer[act](b));
  Object.assign(alc.acts, {
    attach(b) { $('[data-picker]', form(b)).click(); },
    templates(b) { const f = form(b); htmx.ajax('GET', `${f.dataset.templates}?account=${f.dataset.account}`, {target: '#sheet', swap: 'innerHTML'}); },
    'other-way'(b) { choose(form(b), b.dataset.to); box(form(b)).focus(); },
  });
})();
