// Live updates: one stream per browser and scope. The tab that holds the scope's Web Lock reads it, and a
// BroadcastChannel hands on to the others. Fragments are put in place by id: one that comes twice changes nothing.
// It is a fetch, not an EventSource, so that an embed can send its secret in a header.
//
// <script src="live.js" data-url data-after data-scope defer>, or live.start({url, after, scope, headers: () => ({…})}).
// Tells the document `live:state` (connecting, open, offline, expired), `live:event`, `live:reset` (too much was missed:
// fetch the panes again) and `live:below` (something came in below what is in sight).
(() => {
  const tell = (name, detail) => document.dispatchEvent(new CustomEvent('live:' + name, {detail}));
  const RING = 200, SILENCE = 40000;
  let now = {};

  function start({url, after = 0, scope = '', headers = () => ({})}) {
    now.stop?.();
    let last = +after, floor = last, ring = [], tries = 0, leads = false, over = false, timer, request;
    const me = Math.random();
    const lock = new AbortController();
    let channel = null;
    try { if (scope && navigator.locks) channel = new BroadcastChannel('live:' + scope); } catch {}
    const post = message => channel?.postMessage(message);
    const state = word => {
      document.documentElement.dataset.live = word;
      tell('state', word);
      if (leads) post({state: word});
    };
    const apply = (id, html) => {
      if (id <= last) return;
      last = id;
      if (!html) return;
      upsert(html);
      tell('event', id);
    };
    const reset = id => { if (id >= 0) last = floor = id; ring = []; tell('reset', id); };

    function heard({event, id, data}) {
      if (event === 'bye') { stop(); return state('expired'); }
      if (event === 'reset') { post({reset: id}); return reset(id); }
      if (!(id > last)) return;
      if (ring.push({id, data}) > RING) floor = ring.shift().id;
      post({id, data});
      apply(id, data);
    }

    async function connect() {
      clearTimeout(timer);
      const mine = request = new AbortController();
      let watch;
      const alive = () => { clearTimeout(watch); watch = setTimeout(() => mine.abort(), SILENCE); };
      state('connecting');
      try {
        alive();
        const answer = await fetch(url + '?after=' + last, {
          headers: {Accept: 'text/event-stream', ...headers()}, signal: mine.signal, cache: 'no-store', redirect: 'manual'});
        if (answer.type === 'opaqueredirect' || [401, 403].includes(answer.status)) return heard({event: 'bye'});
        if (!answer.ok) throw answer.status;
        state('open');
        await read(answer.body, part => { tries = 0; alive(); part && heard(part); });
      } catch {} finally { clearTimeout(watch); }
      if (over || mine !== request) return;
      now.retryAt = Date.now() + Math.min(30000, 500 * 2 ** tries++) * (.7 + .6 * Math.random());
      state('offline');
      timer = setTimeout(connect, now.retryAt - Date.now());
    }

    function retry() { if (leads && !over) { tries = 0; request?.abort(); connect(); } else post({retry: 1}); }
    function stop() { over = true; clearTimeout(timer); request?.abort(); lock.abort(); }
    function lead() { leads = true; if (!over) connect(); }

    if (channel) channel.onmessage = ({data: m}) => {
      if (m.hello !== undefined && leads) {
        post({state: document.documentElement.dataset.live});
        if (m.hello < floor) post({reset: last, to: m.me});
        else ring.forEach(one => one.id > m.hello && post(one));
      }
      if (m.retry && leads) retry();
      if (m.bye) { stop(); state('expired'); }
      if (leads || over) return;
      if (m.data !== undefined) apply(m.id, m.data);
      if (m.state) state(m.state);
      if (m.reset !== undefined && (!m.to || m.to === me)) reset(m.reset);
    };
    now = {retry, lose: () => request?.abort(), last: () => last, stop: () => { stop(); channel?.close(); }, bye: () => { post({bye: 1}); stop(); }};
    if (!channel) return lead();
    post({hello: last, me});
    navigator.locks.request('live:' + scope, {signal: lock.signal}, () => new Promise(end => {
      lock.signal.addEventListener('abort', end);
      lead();
    })).catch(() => over || lead());
  }

  async function read(body, take) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ''; ;) {
      const {done, value} = await reader.read();
      if (done) return;
      const parts = (text + value).split('\n\n');
      text = parts.pop();
      take();
      for (const part of parts) {
        const said = {event: 'message', data: []};
        for (const line of part.split('\n')) {
          const [, name, rest] = /^(\w*): ?(.*)$/s.exec(line) || [];
          if (name === 'data') said.data.push(rest); else if (name) said[name] = rest;
        }
        if (said.id || said.event !== 'message') take({...said, id: +said.id, data: said.data.join('\n')});
      }
    }
  }

  // What is on the page by its id is replaced; else it goes into `data-into` (`data-top`: first, even if it was there);
  // `data-del` takes it away. One without a place gets another chance with the next pane that htmx brings.
  const busy = el => el.querySelector('[data-composer], :popover-open, dialog[open]') ||
    (el.contains(document.activeElement) && document.activeElement.matches('input, textarea, select, [contenteditable]'));
  const held = new Map(), strays = [];

  function upsert(html) {
    const template = document.createElement('template');
    template.innerHTML = html;
    [...template.content.children].forEach(put);
  }

  function put(el) {
    const old = el.id && document.getElementById(el.id), top = 'top' in el.dataset;
    if (old && el.dataset.version < old.dataset.version) return; // the answer to a send, overtaken by what became of it
    if (old && busy(old)) return held.set(el.id, el);
    held.delete(el.id);
    if ('del' in el.dataset) return old?.remove();
    const box = el.dataset.into && document.querySelector(el.dataset.into);
    const scroll = (old || box)?.closest('.scroll');
    const atEnd = scroll && scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
    const focused = old?.contains(document.activeElement) && (document.activeElement.id || true);
    if (old && !(top && box)) old.replaceWith(el);
    else if (box) { old?.remove(); box[top ? 'prepend' : 'append'](el); }
    else return void (strays.push({el, at: Date.now()}) > 50 && strays.shift());
    self.htmx?.process(el);
    if (focused) ((focused !== true && document.getElementById(focused)) || el.querySelector('a, button') || el)
      .focus({preventScroll: true});
    if (atEnd) scroll.scrollTop = scroll.scrollHeight;
    else if (scroll && !old && !top) tell('below', {scroll, el});
  }
  document.addEventListener('htmx:afterSwap', () => strays.splice(0).forEach(one => Date.now() - one.at < 15000 && put(one.el)));
  document.addEventListener('focusout', () => held.size && setTimeout(() => [...held.values()].forEach(put)));

  addEventListener('online', () => now.retry?.());
  addEventListener('offline', () => now.lose?.());
  document.addEventListener('submit', e => e.target.getAttribute('action') === '/logout' && now.bye?.());
  self.live = {start, upsert, retry: () => now.retry?.(), stop: () => now.stop?.(), bye: () => now.bye?.(),
    get retryAt() { return now.retryAt; }, get last() { return now.last?.(); }};
  const given = document.currentScript?.dataset;
  if (given?.url) start(given);
})();
