// The inbox: its list in order, its thread grouped and read, its numbers, its keys.
(() => {
  const {$, $$, store} = alc;
  const thread = () => $('#thread[data-number]');
  const rows = () => $$('.rows > li[id^=c-]');
  const current = () => $('.row[aria-current]');

  // --- the list: new activity never moves what is under the pointer or the focus ---
  const list = () => $('.rows');
  const resting = () => !$('#list')?.matches(':hover') && !$('#list')?.contains(document.activeElement);
  function order(force) {
    const box = list();
    if (!box) return;
    const more = $('#more', box), oldest = box.dataset.sort === 'oldest', at = li => li.dataset.at || '';
    const all = rows();
    for (const li of all) { // what left this list goes, but not from under the reader
      const here = box.dataset.views && li.dataset.into && !box.matches(li.dataset.into);
      if (here && li.id !== 'c-' + thread()?.dataset.number) li.remove();
    }
    const kept = rows(), sorted = [...kept].sort((a, b) => (at(a) < at(b) ? 1 : at(a) > at(b) ? -1 : 0) * (oldest ? -1 : 1));
    const moved = sorted.some((li, i) => kept[i] !== li), fresh = kept.filter(li => !li.dataset.seen);
    if (moved && !force && !resting()) {
      fresh.forEach(li => li.classList.add('held'));
      pill(fresh.length || 1);
    } else {
      if (moved) sorted.forEach((li, i) => { if (box.children[i] !== li) box.insertBefore(li, box.children[i] || null); });
      kept.forEach(li => { li.dataset.seen = 1; li.classList.remove('held'); });
      if (more) {
        box.append(more);
        const last = more.previousElementSibling;
        if (fresh.includes(last) && kept.length > 1 && moved) last.remove(); // it belongs to a page that is not here yet
      }
      pill(0);
    }
    const none = $('#rows .nothing');
    if (none) none.hidden = rows().length > 0;
    paint();
  }
  function pill(n) { const button = $('#fresh'); if (button) { button.hidden = !n; button.textContent = `↑ ${n} new`; } }
  alc.acts.fresh = () => { order(true); $('#list-scroll').scrollTop = 0; };
  document.addEventListener('pointerleave', e => e.target.id === 'list' && !$('#fresh').hidden && order(), true);
  function paint() { // what depends on who looks, where and when
    const open = thread()?.dataset.number, base = $('#list')?.dataset.base, query = location.search, me = document.body.dataset.user;
    for (const a of $$('.row')) {
      const number = a.id.slice(4);
      if (base) a.setAttribute('href', `${base}/c/${number}${query}`);
      number === open ? a.setAttribute('aria-current', 'true') : a.removeAttribute('aria-current');
      a.classList.toggle('drafted', !!(store.get(`draft:${me}:${number}:reply`) || store.get(`draft:${me}:${number}:note`)) && number !== open);
      const owner = $('[data-assignee]', a);
      if (owner) owner.hidden = owner.dataset.assignee === me;
    }
    $('.back')?.setAttribute('href', base + query);
    tick();
  }
  function tick() {
    for (const b of $$('[data-wait]')) $('span', b).textContent = `waiting ${alc.span(Math.max(60, (Date.now() - Date.parse(b.dataset.wait)) / 1000))}`;
    for (const b of $$('.row [data-window]')) {
      const left = (Date.parse(b.dataset.window) - Date.now()) / 1000;
      b.hidden = left > 4 * 3600 || left < 0;
      $('span', b).textContent = `${alc.span(left)} left`;
    }
  }
  document.addEventListener('tick', tick);
  document.addEventListener('drafted', paint);
  document.addEventListener('htmx:configRequest', e => { if (e.target.matches?.('.row, .back')) e.detail.path = e.target.getAttribute('href'); });

  // --- the thread: read while somebody looks at it ---
  function read() {
    const main = thread(), row = current();
    if (!main || document.hidden || main.dataset.left || !(+main.dataset.unread || row?.classList.contains('un'))) return;
    main.dataset.unread = 0;
    row?.classList.remove('un');
    $('.count.hot', row || document.createElement('i'))?.remove();
    alc.post(`/inbox/c/${main.dataset.number}/read`).catch(() => {});
  }
  document.addEventListener('visibilitychange', read);
  document.addEventListener('htmx:beforeSwap', e => {
    if (!e.detail.requestConfig?.elt.closest('[data-keep-scroll]')) return;
    const box = $('.msgs'), from = box.scrollHeight - box.scrollTop;
    document.addEventListener('htmx:afterSettle', () => { box.scrollTop = box.scrollHeight - from; alc.group(); }, {once: true});
  });

  // --- numbers, title, favourite icon ---
  function numbers() {
    const given = JSON.parse($('#tally')?.value || $('#tally')?.getAttribute('value') || '{}');
    for (const node of $$('.nav [data-count]')) {
      const n = given[node.dataset.count] || 0;
      node.textContent = n > 999 ? '>999' : n || '';
      if (node.matches('.hot')) node.hidden = !n;
    }
    const unread = given['unread-' + document.body.dataset.user] || 0;
    document.title = (unread ? `(${unread}) ` : '') + document.title.replace(/^\(\d+\) /, '');
  }

  function watch() {
    const box = list();
    if (box && !box.watched) {
      box.watched = new MutationObserver(() => { order(); box.watched.takeRecords(); });
      box.watched.observe(box, {childList: true});
    }
    alc.watchThread(read);
  }
  const settle = () => {
    rows().forEach(li => { if (!li.dataset.into) li.dataset.seen = 1; });
    watch(); order(); alc.group(); numbers(); read();
    const base = $('#list')?.dataset.base, name = $('#list-name');
    if (thread()) name?.removeAttribute('aria-level'); else name?.setAttribute('aria-level', 1);
    $$('.nav [data-view]').forEach(a => a.getAttribute('href') === base ? a.setAttribute('aria-current', 'page') : a.removeAttribute('aria-current'));
  };
  const atBottom = () => {
    const box = $('.msgs'), wanted = location.hash.startsWith('#m-') && document.getElementById(location.hash.slice(1));
    if (wanted) { wanted.scrollIntoView({block: 'center'}); $('.bubble', wanted)?.classList.add('flash'); } else if (box) alc.toEnd();
  };
  document.addEventListener('DOMContentLoaded', () => { settle(); atBottom(); });
  document.addEventListener('htmx:historyRestore', () => { settle(); atBottom(); });
  document.addEventListener('htmx:afterSettle', e => { settle(); if (['thread', 'panes'].includes(e.detail.elt.id)) atBottom(); });
  document.addEventListener('live:event', () => { numbers(); order(); });
  document.addEventListener('applied', () => { numbers(); order(); });
  // Too much was missed: fetch the list anew, and the messages, but not the composer.
  document.addEventListener('live:reset', () => {
    htmx.ajax('GET', $('#list').dataset.base + location.search, {target: '#rows', swap: 'outerHTML'});
    if (thread()) htmx.ajax('GET', location.pathname, {target: '.msgs', swap: 'outerHTML', select: '.msgs'});
  });

  // --- going from one conversation to the next ---
  let keyed = false;
  document.addEventListener('htmx:afterSwap', e => {
    if (e.detail.target?.id !== 'thread' || !thread()) return;
    alc.say(`${$('#thread h1').textContent}, conversation opened`);
    if (keyed) $('#thread h1').focus();
    keyed = false;
    $('#customer')?.classList.remove('open');
  });
  const next = () => { const all = $$('.row'), at = all.indexOf(current()); return all[at + 1] || all[at - 1]; };
  document.addEventListener('click', e => {
    const leave = e.target.closest('[data-next]');
    if (leave) alc.after = next()?.id; // by its name: the row may be another one when the answer is there
  });
  document.addEventListener('htmx:afterRequest', e => {
    const by = e.detail.requestConfig?.elt;
    if (!by || !e.detail.successful || !thread()) return;
    if (by.matches('[data-leave]')) thread().dataset.left = 1;
    if (by.matches('[data-next]') && innerWidth > 720) { const to = by.matches('form') ? next() : alc.after && document.getElementById(alc.after); to?.click(); }
  });
  Object.assign(alc.acts, {
    side() {
      const side = $('#customer'), drawer = innerWidth <= 1200;
      if (drawer) { if (side.classList.toggle('open')) side.focus(); else $('#do-side')?.focus(); return; }
      const shown = !$('#panes').classList.toggle('no-side');
      alc.post('/me/preferences', {side: shown ? 'on' : 'off'});
    },
  });

  const keys = {
    r: () => alc.write($('[data-composer]'), 'reply'), n: () => alc.write($('[data-composer]'), 'note'), '/': () => $('#list input[type=search]')?.focus(),
    e: () => $('#do-close')?.click(), a: () => $('#do-assign')?.click(), h: () => $('#do-snooze')?.click(), l: () => $('#do-tags')?.click(), i: () => $('#do-side')?.click(),
    u: () => { const main = thread(); if (main) { main.dataset.left = 1; alc.post(`/inbox/c/${main.dataset.number}/unread`).then(alc.apply); } },
  };
  document.addEventListener('keydown', e => {
    if (e.key === 'Enter' && e.target.matches?.('.row')) keyed = true;
    if (e.key === 'Escape' && $('#customer.open')) alc.acts.side();
    if (document.body.dataset.keys !== 'on' || alc.writing(e) || e.isComposing) return;
    if (e.key === 'j' || e.key === 'k') {
      const all = $$('.row'), focused = all.indexOf(document.activeElement), at = focused < 0 ? all.indexOf(current()) : focused;
      all[Math.max(0, Math.min(all.length - 1, at + (e.key === 'j' ? 1 : -1)))]?.focus();
    } else if (keys[e.key]) keys[e.key](); else return;
    e.preventDefault();
  });
})();
