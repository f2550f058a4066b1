// The embed within its host page: the session's secret, kept in memory alone; the live stream; the filter; the end of the
// session and how it goes on; and what host and embed tell each other (postMessage, version 1, docs/embedding.md).
(() => {
  const {$, $$} = alc, root = document.documentElement;
  const take = id => { const node = document.getElementById(id), value = JSON.parse(node.textContent); node.remove(); return value; };
  const terms = take('terms');
  let secret = take('secret'), over = false, only = '';
  try { history.replaceState(null, '', location.pathname); } catch {} // the token goes from the address

  const headers = alc.extraHeaders = () => ({'X-Embed-Session': secret, Accept: 'application/json'});
  const ask = (path, options = {}) => fetch(path, {cache: 'no-store', credentials: 'omit', ...options,
    headers: {...options.headers, ...headers()}});

  // --- the host: the exact origin of the page around us, and no other window ---
  const host = {
    here: parent !== self,
    origin: null,
    may: origin => /^https?:/.test(origin) && (!terms.origins.length || terms.origins.some(item => {
      const [start, end] = item.split('*');
      return end === undefined ? item === origin : origin.startsWith(start) && origin.endsWith(end);
    })),
    tell(type, more) { if (host.here && host.origin) parent.postMessage({source: 'alacarte', v: 1, type, ...more}, host.origin); },
  };
  const referrer = () => { try { return new URL(document.referrer).origin; } catch { return ''; } };
  host.origin = [location.ancestorOrigins?.[0], referrer()].find(origin => origin && host.may(origin)) || null;

  const orders = {
    'token:refresh': ({token}) => typeof token === 'string' && renew(token),
    theme({mode, accent}) {
      if (['light', 'dark', 'auto'].includes(mode)) root.dataset.theme = mode;
      if (/^#?[0-9a-f]{6}$/i.test(accent)) ask('/embed/accent?colour=' + accent.replace('#', '')).then(a => a.json()).then(({light, dark}) => {
        root.style.setProperty('--accent-l', light);
        root.style.setProperty('--accent-d', dark);
      }).catch(() => {});
    },
    locale({locale}) { if (typeof locale === 'string') root.dir = /^(ar|dv|fa|he|ku|ps|ur|yi)\b/i.test(locale) ? 'rtl' : 'ltr'; },
    'focus:composer': () => box()?.focus(),
    compose({text}) {
      const area = box();
      if (!area || typeof text !== 'string') return;
      area.setRangeText(text.slice(0, 20000), area.selectionStart, area.selectionEnd, 'end');
      area.dispatchEvent(new Event('input', {bubbles: true}));
      area.focus();
    },
  };
  addEventListener('message', e => {
    if (!host.here || e.source !== parent || !host.may(e.origin) || (host.origin && e.origin !== host.origin)) return;
    if (!host.origin) { host.origin = e.origin; host.tell('ready'); } // a host that hides its address spoke first
    const said = e.data;
    if (typeof said?.type === 'string' && Object.hasOwn(orders, said.type)) orders[said.type](said);
  });

  // --- the session: it warns, it ends, and with a new token it goes on where it was ---
  const box = () => !over && $('[data-composer] textarea');
  let timers = [], ends;
  function schedule() {
    timers.forEach(clearTimeout);
    const left = terms.expires_in * 1000, at = (before, then, soonest = 0) => setTimeout(then, Math.max(soonest, left - before));
    ends = Date.now() + left;
    timers = [
      at(300000, () => host.tell('token:expiring', {at: terms.expires_at})),
      at(120000, () => { $('#terms-soon').hidden = false; countDown(); }, 5000),
      at(0, expire),
    ];
  }
  function countDown() {
    const left = Math.max(0, ends - Date.now()) / 1000;
    $('#terms-soon [data-left]').textContent = left > 90 ? `${Math.round(left / 60)} min` : `${Math.ceil(left)} s`;
    if (!over && !$('#terms-soon').hidden) setTimeout(countDown, 1000);
  }
  const show = (why = 'Asking the page around this view for a new one…') => {
    $('#terms-soon').hidden = true;
    $('#terms-over').hidden = !over;
    $('#terms-over [data-why]').textContent = why;
    $('#kept').hidden = !over || !$('[data-composer] textarea')?.value;
    const composer = $('[data-composer]');
    if (composer) composer.hidden = over;
    document.body.classList.toggle('readonly', over || !composer || terms.scope !== 'inbox');
  };
  function expire() {
    if (over) return;
    over = true;
    timers.forEach(clearTimeout);
    live.stop();
    show();
    host.tell('token:expired');
  }
  alc.ended = expire;
  async function renew(token) {
    let answer, said = {};
    try {
      answer = await ask('/embed/refresh', {method: 'POST', body: JSON.stringify({token}),
        headers: {'Content-Type': 'application/json'}});
      said = await answer.json();
    } catch {}
    if (!answer?.ok) {
      if (over) show(said.error?.message || 'The server cannot be reached.');
      return host.tell('error', {code: said.error?.code || 'unreachable'});
    }
    secret = said.secret;
    Object.assign(terms, said);
    over = false;
    show();
    schedule();
    listen(live.last ?? terms.after);
    alc.say('The view was renewed');
  }
  alc.acts['ask-again'] = () => { host.tell('token:expired'); show(); };

  // --- the stream ---
  const listen = after => live.start({url: '/embed/live', after, headers});
  document.addEventListener('live:reset', async () => {
    const answer = await ask('/embed/around').catch(() => null);
    if (answer?.ok) live.upsert(await answer.text());
    changed();
    load();
  });
  document.addEventListener('live:event', changed);

  // --- the timeline: all channels or one, and what came before ---
  const shown = () => only || document.body.dataset.channels;
  async function load() {
    const answer = await ask('/embed/messages?channels=' + shown()).catch(() => null), list = $('#timeline');
    if (!answer?.ok) return alc.failed(answer?.status || 0);
    list.innerHTML = await answer.text();
    alc.group();
    alc.toEnd();
  }
  async function earlier(button) {
    if (button.disabled) return;
    button.disabled = true;
    const answer = await ask(button.dataset.earlier).catch(() => null), list = $('#timeline');
    if (!answer?.ok) { button.disabled = false; return alc.failed(answer?.status || 0); }
    const from = list.scrollHeight - list.scrollTop, first = $('.day', list);
    const page = document.createElement('template');
    page.innerHTML = await answer.text();
    if ($$('.day', page.content).some(day => day.dataset.day === first?.dataset.day)) first.remove();
    button.closest('li').replaceWith(page.content);
    alc.group();
    list.scrollTop = list.scrollHeight - from;
    watchTop();
  }
  const top = 'IntersectionObserver' in self && new IntersectionObserver(seen => seen.forEach(one => one.isIntersecting && earlier(one.target)), {root: $('#timeline')});
  const watchTop = () => { const button = $('[data-earlier]'); if (top && button) { top.disconnect(); top.observe(button); } };
  const filter = () => $$('[data-only]').forEach(chip => chip.setAttribute('aria-pressed', chip.dataset.only === only));
  alc.acts.fold = button => {
    const fold = button.getAttribute('aria-expanded') === 'true';
    button.setAttribute('aria-expanded', !fold);
    for (let li = button.closest('li').nextElementSibling; li && !li.matches('.conv'); li = li.nextElementSibling) li.hidden = fold;
  };

  // --- what changed, told to the host ---
  const told = {};
  let ready = false;
  const once = (name, value, tell) => { if (told[name] !== value) { told[name] = value; tell(); } };
  function changed() {
    filter();
    const {unread, status, number, conversation} = $('#embed-header').dataset;
    once('unread', unread, () => host.tell('unread', {count: +unread}));
    once('status', conversation + status, () => ready && host.tell('conversation:status', {id: conversation, number: +number, status}));
    measure();
  }
  let measuring;
  function measure() {
    clearTimeout(measuring);
    measuring = setTimeout(() => {
      const list = $('#timeline'), height = Math.ceil(innerHeight - list.clientHeight + list.scrollHeight);
      once('height', height, () => host.tell('resize', {height}));
    }, 200);
  }
  function came(fresh) {
    const wanted = shown().split(',').filter(Boolean);
    for (const li of $$('#timeline > .m[data-into]')) if (wanted.length && !wanted.includes(li.dataset.by?.split(' ').at(-1))) li.remove();
    for (const li of fresh) host.tell('message:received', {id: li.id.slice(2), channel: li.dataset.by.split(' ').at(-1)});
    measure();
  }

  // --- without htmx: its buttons and forms, a file of 17 KB the less ---
  const send = async (el, values) => {
    const answer = await alc.post(el.getAttribute('hx-post'), values).catch(() => null);
    if (!answer?.ok) return alc.failed(answer?.status || 0, answer && await answer.text());
    await alc.apply(await answer.text());
    $('#sheet').close();
  };
  document.addEventListener('click', e => {
    const chip = e.target.closest('[data-only]'), more = e.target.closest('[data-earlier]'), post = e.target.closest('button[hx-post]');
    if (chip) { only = chip.dataset.only; filter(); load(); }
    if (more) earlier(more);
    if (post) send(post);
    const link = e.target.closest('a[target=_blank][href^="/"]');
    if (link && self.origin === 'null') host.tell('open', {url: link.href}); // a sandbox may not open it itself
  });
  document.addEventListener('submit', e => {
    if (e.target.matches('form[hx-post]')) { e.preventDefault(); send(e.target, new FormData(e.target)); }
  });
  alc.acts.templates = async button => {
    const form = button.closest('[data-composer]');
    const answer = await ask(`${form.dataset.templates}?account=${form.dataset.account}`).catch(() => null);
    if (!answer?.ok) return alc.failed(answer?.status || 0);
    $('#sheet').innerHTML = await answer.text();
    $('#sheet').showModal();
  };
  alc.acts.side = () => {
    const open = $('#customer').classList.toggle('open');
    $('[data-act=side]').setAttribute('aria-expanded', open);
    (open ? $('#customer') : $('[data-act=side]')).focus();
  };
  document.addEventListener('keydown', e => e.key === 'Escape' && $('#customer.open') && alc.acts.side());
  document.addEventListener('applied', () => { const sent = $$('.m.out[data-into]').at(-1); if (sent) once('sent', sent.id, () => host.tell('message:sent', {id: sent.id.slice(2)})); });

  addEventListener('resize', measure);
  addEventListener('pagehide', e => { if (!e.persisted && !over) ask('/embed/close', {method: 'POST', keepalive: true}).catch(() => {}); });
  document.addEventListener('DOMContentLoaded', () => {
    host.tell('ready');
    alc.watchThread(came);
    alc.group();
    alc.toEnd();
    changed();
    ready = true;
    watchTop();
    schedule();
    listen(terms.after);
  });
})();
