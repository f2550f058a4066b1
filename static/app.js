// What every page needs: theme, dialogs, menus, toasts, the palette, answers of the server, and the words for screen
// readers. Uses htmx; `alc` is what composer.js, inbox.js and the embed share.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement;
  const alc = self.alc = {$, $$, acts: {}, extraHeaders: () => ({})};
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

  alc.toast = ({text, undo, bad, link}) => {
    const box = $('#toasts');
    if (!box) return alc.say(text, bad);
    const node = document.createElement('div');
    node.className = 'toast' + (bad ? ' bad' : '');
    node.append(Object.assign(document.createElement('span'), {textContent: text}));
    const before = document.activeElement;
    const button = (label, act) => {
      const made = Object.assign(document.createElement('button'), {type: 'button', className: 'btn sm', textContent: label});
      made.onclick = () => { node.remove(); if (before?.isConnected) before.focus(); act(); };
      node.append(made);
    };
    if (undo) button('Undo', () => alc.post(undo.url, undo.values).then(alc.apply));
    if (link) button(link.label, () => location.assign(link.url));
    button('Dismiss', () => {});
    box.replaceChildren(node);
    if (box.popover) { try { box.hidePopover(); box.showPopover(); } catch {} }
    alc.say(text + (undo ? '. Undo is offered.' : ''), bad);
    const leave = () => node.matches(':hover, :focus-within') ? setTimeout(leave, 2000) : node.remove();
    setTimeout(leave, bad ? 12000 : 7000);
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
    if (!form.closest('[data-pick=many]')) closeOverlays(form);
    if (xhr.responseText) alc.apply(xhr.responseText);
  });
  document.addEventListener('htmx:responseError', e => alc.failed(e.detail.xhr.status, e.detail.xhr.responseText));
  document.addEventListener('htmx:sendError', () => alc.failed(0));
  let asking = 0, slow;
  const busy = change => {
    asking = Math.max(0, asking + change);
    clearTimeout(slow);
    if (asking) slow = setTimeout(() => root.classList.add('htmx-busy'), 300); else root.classList.remove('htmx-busy');
  };
  document.addEventListener('htmx:beforeRequest', () => busy(1));
  document.addEventListener('htmx:afterRequest', () => busy(-1));
  document.addEventListener('htmx:configRequest', e => Object.assign(e.detail.headers, alc.extraHeaders()));

  // --- a session that ended: sign in over the page, and lose nothing ---
  let signing = false;
  async function signIn() {
    if (alc.ended) return alc.ended(); // an embed asks its host for a new token instead
    if (signing || !$('#sheet')) return;
    signing = true;
    const form = await (await fetch('/login', {headers: {'HX-Request': 'true'}})).text();
    const sheet = $('#sheet');
    sheet.innerHTML = '<div class="hd"><h2 id="sheet-title">Sign in again</h2></div><div class="bd"><p class="dim">Your session ended. What you wrote is still here.</p></div>';
    $('.bd', sheet).insertAdjacentHTML('beforeend', form);
    const login = $('form', sheet);
    login.classList.add('stack');
    login.onsubmit = async e => {
      e.preventDefault();
      const answer = await fetch('/login', {method: 'POST', body: new FormData(login), headers: {'HX-Request': 'true'}});
      if (answer.status === 204) { signing = false; sheet.close(); return alc.heed(name => answer.headers.get(name)); }
      login.innerHTML = $('form', new DOMParser().parseFromString(await answer.text(), 'text/html')).innerHTML;
    };
    sheet.addEventListener('close', () => { signing = false; }, {once: true});
    sheet.showModal();
  }
  document.addEventListener('signed-in', e => {
    document.body.setAttribute('hx-headers', JSON.stringify({'X-CSRFToken': e.detail.csrf}));
    $$('input[name=csrf_token]').forEach(input => { input.value = e.detail.csrf; });
    if (self.live && $('script[data-url]')) live.start($('script[data-url]').dataset);
    alc.say('Signed in again');
  });

  // --- menus: one popover, filled by the server, placed beside its button ---
  let opener;
  const where = new CSSStyleSheet(); // a style attribute would be copied by a swap, which the policy forbids
  document.adoptedStyleSheets.push(where);
  const place = (menu, at) => {
    const box = at.getBoundingClientRect(), size = menu.getBoundingClientRect(), gap = 4;
    const rtl = getComputedStyle(root).direction === 'rtl', fits = box.left + size.width < innerWidth - 8;
    const left = (fits && !rtl) || box.right - size.width < 8 ? box.left : box.right - size.width;
    const below = box.bottom + gap + size.height < innerHeight - 8 || box.top - gap - size.height < 8;
    const x = Math.max(8, Math.min(left, innerWidth - size.width - 8));
    const y = Math.max(8, below ? Math.min(box.bottom + gap, innerHeight - size.height - 8) : box.top - gap - size.height);
    where.replaceSync(`.menu:popover-open{left:${x}px;top:${y}px}`);
  };
  document.addEventListener('toggle', e => {
    const menu = e.target;
    if (!menu.matches?.('.menu[popover]')) return;
    const by = menu.id === 'menu' ? opener : $(`[popovertarget="${menu.id}"]`);
    if (e.newState === 'open') {
      if (by) place(menu, by);
      by?.setAttribute('aria-expanded', 'true');
      if (menu.id !== 'menu') $('[role^=menuitem]:not([aria-disabled=true])', menu)?.focus();
    } else {
      by?.setAttribute('aria-expanded', 'false');
      if (menu.id === 'menu') { menu.replaceChildren(); if (document.activeElement === document.body) focusBack(); }
    }
  }, true);
  const focusBack = () => (opener?.isConnected ? opener : opener?.id && document.getElementById(opener.id))?.focus();
  document.addEventListener('htmx:beforeRequest', e => {
    if (e.detail.target?.id === 'menu' && !$('#menu').contains(e.detail.elt)) opener = e.detail.elt;
  });
  document.addEventListener('htmx:afterSwap', e => {
    const target = e.detail.target;
    if (!target) return;
    if (target.id === 'menu') {
      if (!target.matches(':popover-open')) target.showPopover(); else if (opener) place(target, opener);
      ($('[autofocus]', target) || $('input, [role=menuitem], button', target))?.focus();
      pick(target);
    }
    if (target.id === 'sheet' && !target.open) target.showModal();
    if (target.id === 'results') { pick(target.closest('dialog')); alc.say(`${$$('[role=option]', target).length} results`); }
  });
  function closeOverlays(from) {
    const menu = $('#menu');
    if (menu?.matches(':popover-open') && (menu.contains(from) || from === opener)) { menu.hidePopover(); focusBack(); }
    const sheet = from.closest?.('dialog');
    if (sheet?.id === 'sheet') sheet.close();
  }
  document.addEventListener('keydown', e => {
    const menu = e.target.closest?.('[role=menu]');
    if (!menu || !['ArrowDown', 'ArrowUp', 'Home', 'End'].includes(e.key)) return;
    const items = $$('[role^=menuitem]:not([aria-disabled=true])', menu), at = items.indexOf(document.activeElement);
    items[{ArrowDown: (at + 1) % items.length, ArrowUp: (at - 1 + items.length) % items.length, Home: 0, End: items.length - 1}[e.key]]?.focus();
    e.preventDefault();
  });

  // --- pickers: a text box that filters a list; arrows move, Enter chooses (APG combobox with a listbox) ---
  function pick(scope) {
    const input = $('[role=combobox]', scope);
    if (input) mark(input, options(input)[0]);
  }
  const options = input => $$('[role=option]', document.getElementById(input.getAttribute('aria-controls'))).filter(o => !o.hidden);
  const mark = (input, option) => {
    const list = document.getElementById(input.getAttribute('aria-controls'));
    $$('[aria-selected=true]', list).forEach(o => o.setAttribute('aria-selected', 'false'));
    option?.setAttribute('aria-selected', 'true');
    option?.scrollIntoView({block: 'nearest'});
    option ? input.setAttribute('aria-activedescendant', option.id) : input.removeAttribute('aria-activedescendant');
  };
  alc.mark = mark;
  alc.filter = (list, words, none) => {
    let found = 0;
    for (const option of $$('[data-text]', list)) {
      option.hidden = !words.every(word => option.dataset.text.toLowerCase().includes(word));
      found += !option.hidden;
    }
    if (none) none.hidden = found > 0;
    return found;
  };
  document.addEventListener('input', e => {
    const box = e.target.closest('[data-pick], [data-filter]');
    if (!box || e.target.closest('form')?.closest('[data-filter]')) return;
    alc.filter(box, e.target.value.toLowerCase().split(/\s+/).filter(Boolean), $('.none', box));
    if (e.target.matches('[role=combobox]')) mark(e.target, options(e.target)[0]);
  });
  document.addEventListener('keydown', e => {
    const input = e.target;
    if (!input.matches?.('input[role=combobox]') || e.isComposing) return;
    const all = options(input), at = all.findIndex(o => o.getAttribute('aria-selected') === 'true');
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      mark(input, all[(at + (e.key === 'ArrowDown' ? 1 : -1) + all.length) % all.length]);
      e.preventDefault();
    } else if (e.key === 'Enter') {
      e.preventDefault();
      const box = input.closest('[data-create]'), name = input.value.trim();
      if (all[at]) all[at].click();
      else if (box && name) { alc.post(box.dataset.create, {[box.dataset.field]: name}).then(alc.apply); $('#menu').hidePopover(); }
    }
  });
  document.addEventListener('click', e => {
    const option = e.target.closest('[aria-multiselectable] [role=option]');
    if (!option) return;
    const on = option.getAttribute('aria-checked') !== 'true';
    option.setAttribute('aria-checked', on);
    $('[data-mark]', option).hidden = !on;
  });

  // --- buttons ---
  Object.assign(alc.acts, {
    theme() {
      const dark = isDark();
      root.dataset.theme = dark ? 'light' : 'dark';
      store.set('theme', root.dataset.theme);
      alc.post('/me/preferences', {theme: root.dataset.theme});
      alc.say(dark ? 'Light theme' : 'Dark theme');
      nameTheme();
    },
    palette() {
      const dialog = $('#palette'), input = $('input', dialog);
      if (dialog.open) return;
      dialog.showModal();
      input.value = '';
      input.focus();
      htmx.ajax('GET', '/search', {target: '#results', swap: 'innerHTML'});
    },
    keys() { $('#who')?.hidePopover?.(); $('#keys').showModal(); },
    shortcuts(button) {
      document.body.dataset.keys = button.checked ? 'on' : 'off';
      alc.post('/me/preferences', {shortcuts: button.checked ? 'on' : 'off'});
    },
    reveal(button) {
      const input = button.parentElement.querySelector('input'), shown = input.type === 'text';
      input.type = shown ? 'password' : 'text';
      button.setAttribute('aria-pressed', !shown);
    },
    subnav(button) {
      const nav = button.closest('.subnav'), open = nav.toggleAttribute('data-open');
      button.setAttribute('aria-expanded', open);
    },
    unfold(button) { const open = button.previousElementSibling.classList.toggle('open'); button.textContent = open ? 'Show less' : 'Show more'; },
    reconnect() { self.live?.retry(); },
    'close-menu'() { $('#menu').hidePopover(); focusBack(); },
  });
  const isDark = () => root.dataset.theme === 'dark' || (root.dataset.theme === 'auto' && matchMedia('(prefers-color-scheme:dark)').matches);
  const nameTheme = () => { const label = $('[data-act=theme] .trunc'); if (label) label.textContent = isDark() ? 'Light theme' : 'Dark theme'; };
  document.addEventListener('click', e => {
    const act = e.target.closest('[data-act]');
    if (act && alc.acts[act.dataset.act]) alc.acts[act.dataset.act](act, e);
    const close = e.target.closest('[data-close]');
    if (close) close.closest('dialog').close();
    if (e.target.matches('dialog[open]') && !e.target.hasAttribute('data-hold')) e.target.close(); // the backdrop
    const copy = e.target.closest('[data-copy]');
    if (copy) alc.copy(copy);
  });
  alc.copy = async button => {
    const from = button.dataset.copy, node = from.startsWith('#') && $(from);
    const text = node ? node.textContent : from;
    try { await navigator.clipboard.writeText(text); } catch {
      const area = Object.assign(document.createElement('textarea'), {value: text, className: 'vh'});
      button.after(area); area.select(); document.execCommand('copy'); area.remove();
    }
    button.closest('.menu')?.hidePopover?.();
    const label = button.lastChild?.nodeType === 3 && button.lastChild;
    if (label) { const was = label.textContent; label.textContent = 'Copied'; setTimeout(() => { label.textContent = was; }, 2000); }
    alc.say('Copied');
    if (!label) alc.toast({text: 'Copied'});
  };

  // --- times that pass ---
  const span = seconds => seconds < 60 ? `${Math.max(0, Math.floor(seconds))} s` : seconds < 3600 ? `${Math.floor(seconds / 60)} m`
    : seconds < 86400 ? `${Math.floor(seconds / 3600)} h${seconds < 21600 ? ` ${Math.floor(seconds % 3600 / 60)} m` : ''}` : `${Math.floor(seconds / 86400)} d`;
  alc.span = span;
  alc.tick = () => {
    const now = Date.now();
    for (const node of $$('time[data-ago]')) {
      const passed = (now - Date.parse(node.dateTime)) / 1000;
      if (passed < 86400) node.textContent = passed < 10 ? 'just now' : span(passed) + ' ago';
    }
  };
  setInterval(() => { alc.tick(); document.dispatchEvent(new CustomEvent('tick')); }, 30000);

  // --- the stream is down ---
  let down;
  document.addEventListener('live:state', e => {
    clearTimeout(down);
    const banner = $('#offline');
    if (e.detail === 'expired') return signIn();
    if (!banner || e.detail === 'connecting') return;
    if (e.detail !== 'offline') { banner.hidden = true; return; }
    down = setTimeout(() => { banner.hidden = false; }, banner.hidden ? 3000 : 0);
  });
  setInterval(() => {
    const text = $('#offline:not([hidden]) [data-countdown]');
    if (text) text.textContent = self.live?.retryAt > Date.now() ? `Reconnecting in ${Math.ceil((live.retryAt - Date.now()) / 1000)} s.` : 'Reconnecting…';
  }, 1000);

  // --- keys that work everywhere ---
  alc.writing = e => e.target.closest?.('input, textarea, select, [contenteditable]') || e.ctrlKey || e.metaKey || e.altKey || $('dialog[open], :popover-open:not(.toasts)');
  let leading = 0;
  document.addEventListener('keydown', e => {
    if ((e.ctrlKey || e.metaKey) && !e.altKey && e.key.toLowerCase() === 'k' && $('#palette')) { e.preventDefault(); return alc.acts.palette(); }
    if (document.body.dataset.keys !== 'on' || alc.writing(e) || e.isComposing) return;
    if (e.key === '?') { e.preventDefault(); return alc.acts.keys(); }
    if (e.key === 'g') { leading = Date.now(); return; }
    if (Date.now() - leading < 1200) {
      leading = 0;
      const to = {i: '/inbox/mine', s: $('.nav a[title=Settings]')?.getAttribute('href')}[e.key];
      if (to) { e.preventDefault(); e.stopImmediatePropagation(); location.assign(to); }
    }
  });

  const ready = () => {
    $$('[data-act=reveal]').forEach(button => { button.hidden = false; });
    if (/Mac|iP(hone|ad)/.test(navigator.platform)) $$('[data-mod]').forEach(node => { node.textContent = '⌘K'; });
    if (!document.body.dataset.user && store.get('theme')) root.dataset.theme = store.get('theme');
    nameTheme();
    if (document.body.dataset.said) { alc.toast({text: document.body.dataset.said}); document.body.dataset.said = ''; }
    $('[aria-invalid=true]')?.focus();
    alc.tick();
  };
  document.addEventListener('DOMContentLoaded', ready);
  document.addEventListener('htmx:historyRestore', ready);
})();
