// What every page needs at once: the answers of the server, times, keys, the words for screen readers. What is needed
// later comes later (`alc.need`). `alc` is what all scripts share, the embed's too.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement;
  const alc = self.alc = {$, $$, acts: {}, extraHeaders: () => ({})};
  const {nonce} = document.currentScript, loading = {};
  let opening = false; // what is typed while a menu is on its way is meant for it, and is no shortcut

  // Load a script when it is first wanted, again and again if the line is down. A `data-` attribute has its address.
  alc.need = name => loading[name] ||= new Promise(done => {
    const src = $(`[data-${name}-js]`)?.getAttribute(`data-${name}-js`);
    const load = () => document.head.append(Object.assign(document.createElement('script'),
      {src, nonce, onload: done, onerror: () => setTimeout(load, 2000)}));
    if (src) load();
  });
  for (const name of ['toast', 'copy', 'pick', 'signIn', 'close']) {
    alc[name] = (...given) => alc.need('overlays').then(() => alc[name](...given));
  }
  for (const sign of ['pointermove', 'pointerdown', 'keydown', 'focusin']) {
    document.addEventListener(sign, () => alc.need('overlays'), {once: true, capture: true});
  }
  const signIn = () => alc.ended ? alc.ended() : alc.signIn(); // an embed asks its host for a new token instead
  // What a screen keeps for itself. An embed keeps it in memory alone: its browser may forbid more, and every embed of
  // one browser would share it, whoever its customer is.
  const memory = 'embed' in document.body.dataset && new Map();
  const store = alc.store = memory ? {
    get: key => memory.get(key) ?? null,
    set(key, value) { value ? memory.set(key, value) : memory.delete(key); },
  } : {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { value ? localStorage.setItem(key, value) : localStorage.removeItem(key); } catch {} },
  };

  // --- speaking: one polite node, one that interrupts ---
  let speaking;
  alc.say = (text, urgent) => {
    const node = $(urgent ? '#alert' : '#say');
    if (!node) return;
    node.textContent = '';
    clearTimeout(speaking);
    speaking = setTimeout(() => { node.textContent = text; }, 60);
  };

  // --- asking the server, apart from htmx ---
  alc.headers = () => ({'HX-Request': 'true', ...JSON.parse(document.body.getAttribute('hx-headers') || '{}'), ...alc.extraHeaders()});
  alc.post = async (url, values, options = {}) => {
    const body = values instanceof FormData ? values : new URLSearchParams(values || {});
    const answer = await fetch(url, {method: 'POST', body, headers: alc.headers(), ...options});
    alc.heed(name => answer.headers.get(name));
    return answer;
  };
  alc.heed = header => {
    const said = header('HX-Trigger');
    if (said && said[0] === '{') for (const [name, detail] of Object.entries(JSON.parse(said))) document.dispatchEvent(new CustomEvent(name, {detail}));
    if (header('HX-Refresh') === 'true') location.reload();
  };
  // Answers with fragments are put in place as the live stream puts its own.
  alc.apply = async answer => {
    const text = typeof answer === 'string' ? answer : await answer.text();
    if (typeof answer !== 'string' && !answer.ok) return alc.failed(answer.status, text);
    self.live?.upsert(text);
    document.dispatchEvent(new CustomEvent('applied'));
  };
  alc.reason = text => {
    try { return JSON.parse(text).error.message; } catch {}
    return $('.empty p, .err', new DOMParser().parseFromString(text, 'text/html'))?.textContent.trim();
  };
  alc.failed = (status, text) => {
    if (status === 401) return signIn();
    const why = {0: 'The server cannot be reached. Nothing was lost; try again.', 429: 'Too many requests. Wait a moment and try again.'}[status];
    alc.toast({bad: true, text: why || alc.reason(text || '') || `This did not work (${status}).`});
  };

  document.addEventListener('toast', e => alc.toast(e.detail));
  // A live update may take a button away while its request is under way: htmx then tells the button, and nobody else.
  const heard = new WeakSet();
  document.addEventListener('htmx:beforeOnLoad', e => heard.add(e.detail.xhr));
  document.addEventListener('htmx:beforeRequest', ({detail}) => detail.xhr.addEventListener('load', () => {
    const {xhr} = detail;
    if (heard.has(xhr)) return;
    if (xhr.status >= 400) alc.failed(xhr.status, xhr.responseText);
    const told = JSON.parse(xhr.getResponseHeader('HX-Trigger') || '{}');
    for (const name in told) document.dispatchEvent(new CustomEvent(name, {detail: told[name]}));
    document.dispatchEvent(new CustomEvent('htmx:afterRequest', {detail}));
  }));
  document.addEventListener('htmx:beforeSwap', e => {
    const {xhr, requestConfig: asked} = e.detail, form = asked?.elt;
    if (!form) return;
    if (xhr.status === 422 && form.matches?.('#menu form')) { // what is wrong comes back in the form
      e.detail.target = $('#menu'); e.detail.swapOverride = 'innerHTML'; e.detail.shouldSwap = true; e.detail.isError = false;
      return;
    }
    if (form.closest?.('[hx-swap]')?.getAttribute('hx-swap') !== 'none') return;
    e.detail.shouldSwap = false;
    if (xhr.status >= 300) { if (xhr.status === 422) alc.failed(422, xhr.responseText); return; }
    if (!form.closest('[data-pick=many]')) alc.close(form);
    if (xhr.responseText) alc.apply(xhr.responseText);
  });
  document.addEventListener('htmx:responseError', e => alc.failed(e.detail.xhr.status, e.detail.xhr.responseText));
  document.addEventListener('htmx:sendError', () => alc.failed(0));
  document.addEventListener('htmx:configRequest', e => Object.assign(e.detail.headers, alc.extraHeaders()));

  // --- buttons ---
  alc.acts.reconnect = () => self.live?.retry();
  const run = (act, button, e) => {
    if (alc.acts[act]) return alc.acts[act](button, e);
    opening = true;
    alc.need('overlays').then(() => { opening = false; alc.acts[act]?.(button, e); });
  };
  document.addEventListener('click', e => {
    const button = e.target.closest('[data-act]'), act = button?.dataset.act;
    if (act) run(act, button, e);
    const close = e.target.closest('[data-close]');
    if (close) close.closest('dialog').close();
    if (e.target.matches('dialog[open]') && !e.target.hasAttribute('data-hold')) e.target.close(); // the backdrop
    const copy = e.target.closest('[data-copy]');
    if (copy) alc.copy(copy);
  });

  // --- times that pass ---
  alc.span = seconds => seconds < 60 ? `${Math.max(0, Math.floor(seconds))} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} m`
    : seconds < 86400 ? `${Math.floor(seconds / 3600)} h${seconds < 21600 ? ` ${Math.floor(seconds % 3600 / 60)} m` : ''}` : `${Math.floor(seconds / 86400)} d`;
  setInterval(() => document.dispatchEvent(new CustomEvent('tick')), 30000);

  // --- the stream is down ---
  let down;
  document.addEventListener('live:state', e => {
    const banner = $('#offline');
    if (e.detail === 'expired') return signIn();
    if (e.detail === 'offline') down ||= setTimeout(() => { if (banner) banner.hidden = false; }, 3000);
    if (e.detail === 'open') { down = clearTimeout(down); if (banner) banner.hidden = true; }
  });
  setInterval(() => {
    const text = $('#offline:not([hidden]) [data-countdown]');
    if (text) text.textContent = self.live?.retryAt > Date.now() ? `Reconnecting in ${Math.ceil((live.retryAt - Date.now()) / 1000)} s.` : 'Reconnecting…';
  }, 1000);

  // --- keys that work everywhere ---
  document.addEventListener('htmx:beforeRequest', ({detail: {target, elt}}) => {
    opening = ['menu', 'sheet'].includes(target?.id);
    if (target?.id === 'menu' && !target.contains(elt)) alc.opener = elt;
  });
  document.addEventListener('htmx:afterRequest', () => { opening = false; });
  alc.writing = e => opening || e.target.closest?.('input, textarea, select, [contenteditable]') || e.ctrlKey || e.metaKey || e.altKey || $('dialog[open], :popover-open:not(.toasts)');
  let leading = 0;
  document.addEventListener('keydown', e => {
    if ((e.ctrlKey || e.metaKey) && !e.altKey && e.key.toLowerCase() === 'k' && $('#palette')) { e.preventDefault(); return run('palette'); }
    if (document.body.dataset.keys !== 'on' || alc.writing(e) || e.isComposing) return;
    if (e.key === '?') { e.preventDefault(); return run('keys'); }
    if (e.key === 'g') { leading = Date.now(); return; }
    if (Date.now() - leading < 1200) {
      leading = 0;
      const to = {i: '/inbox/mine', s: $('.nav a[title=Settings]')?.getAttribute('href')}[e.key];
      if (to) { e.preventDefault(); e.stopImmediatePropagation(); location.assign(to); }
    }
  });

  const ready = () => {
    if (!document.body.dataset.user && store.get('theme')) root.dataset.theme = store.get('theme');
    if (document.body.dataset.said) { alc.toast({text: document.body.dataset.said}); document.body.dataset.said = ''; }
    $('[aria-invalid=true]')?.focus();
  };
  document.addEventListener('DOMContentLoaded', ready);
  document.addEventListener('htmx:historyRestore', ready);
})();
