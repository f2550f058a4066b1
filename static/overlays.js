// What lies over a page: toasts, menus, pickers, copying, signing in again. app.js loads it with the first sign of a person,
// or when it is wanted.
(() => {
  const {$, $$} = alc, root = document.documentElement;

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

  // --- menus: one popover, filled by the server, placed beside its button ---
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
  const by = menu => menu.id === 'menu' ? alc.opener : $(`[popovertarget="${menu.id}"]`);
  const opened = menu => {
    const button = by(menu);
    if (button) place(menu, button);
    button?.setAttribute('aria-expanded', 'true');
    if (menu.id !== 'menu') $('[role^=menuitem]:not([aria-disabled=true])', menu)?.focus();
  };
  document.addEventListener('toggle', e => {
    const menu = e.target;
    if (!menu.matches?.('.menu[popover]')) return;
    if (e.newState === 'open') return opened(menu);
    by(menu)?.setAttribute('aria-expanded', 'false');
    if (menu.id === 'menu') { menu.replaceChildren(); if (document.activeElement === document.body) focusBack(); }
  }, true);
  const focusBack = () => (alc.opener?.isConnected ? alc.opener : alc.opener?.id && document.getElementById(alc.opener.id))?.focus();
  const show = target => {
    if (target.id === 'menu') {
      if (!target.matches(':popover-open')) target.showPopover(); else if (alc.opener) place(target, alc.opener);
      ($('[autofocus]', target) || $('input, [role=menuitem], button', target))?.focus();
      if ($('[role=combobox]', target)) alc.pick(target);
    }
    if (target.id === 'sheet' && !target.open) target.showModal();
    if (target.id === 'results') {
      for (const one of $$('[data-run]', target)) one.hidden = !$(one.dataset.run);
      alc.pick(target.closest('dialog')); alc.say(`${$$('[role=option]', target).length} results`);
    }
  };
  document.addEventListener('click', e => {
    const run = e.target.closest('[data-run]')?.dataset.run;
    if (run) { $('#palette').close(); $(run)?.click(); }
  });
  document.addEventListener('htmx:afterSwap', e => e.detail.target && show(e.detail.target));
  alc.close = from => {
    const menu = $('#menu');
    if (menu?.matches(':popover-open') && (menu.contains(from) || from === alc.opener)) { menu.hidePopover(); focusBack(); }
    const sheet = from.closest?.('dialog');
    if (sheet?.id === 'sheet') sheet.close();
  };
  document.addEventListener('keydown', e => {
    const menu = e.target.closest?.('[role=menu]');
    if (!menu || !['ArrowDown', 'ArrowUp', 'Home', 'End'].includes(e.key)) return;
    const items = $$('[role^=menuitem]:not([aria-disabled=true])', menu), at = items.indexOf(document.activeElement);
    items[{ArrowDown: (at + 1) % items.length, ArrowUp: (at - 1 + items.length) % items.length, Home: 0, End: items.length - 1}[e.key]]?.focus();
    e.preventDefault();
  });

  // --- a session that ended: sign in over the page, and lose nothing ---
  let signing = false;
  alc.signIn = async () => {
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
  };
  document.addEventListener('signed-in', e => {
    document.body.setAttribute('hx-headers', JSON.stringify({'X-CSRFToken': e.detail.csrf}));
    $$('input[name=csrf_token]').forEach(input => { input.value = e.detail.csrf; });
    if (self.live && $('script[data-url]')) live.start($('script[data-url]').dataset);
    alc.say('Signed in again');
  });

  // --- pickers: a text box that filters a list; arrows move, Enter chooses (APG combobox with a listbox) ---
  const options = input => $$('[role=option]', document.getElementById(input.getAttribute('aria-controls'))).filter(o => !o.hidden);
  const mark = (input, option) => {
    const list = document.getElementById(input.getAttribute('aria-controls'));
    $$('[aria-selected=true]', list).forEach(o => o.setAttribute('aria-selected', 'false'));
    option?.setAttribute('aria-selected', 'true');
    option?.scrollIntoView({block: 'nearest'});
    option ? input.setAttribute('aria-activedescendant', option.id) : input.removeAttribute('aria-activedescendant');
  };
  const narrow = input => {
    const box = input.closest('[data-pick], [data-filter]');
    if (box) alc.filter(box, input.value.toLowerCase().split(/\s+/).filter(Boolean), $('.none', box));
    if (input.matches('[role=combobox]')) mark(input, options(input)[0]);
  };
  alc.pick = scope => { const input = $('[role=combobox]', scope); if (input) narrow(input); };
  document.addEventListener('input', e => {
    if (e.target.closest('[data-pick], [data-filter]') && !e.target.closest('[data-sheet]')) narrow(e.target);
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

  alc.filter = (list, words, none) => {
    let found = 0;
    for (const option of $$('[data-text]', list)) {
      option.hidden = !words.every(word => option.dataset.text.toLowerCase().includes(word));
      found += !option.hidden;
    }
    if (none) none.hidden = found > 0;
    return found;
  };
  // --- small things ---
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
  Object.assign(alc.acts, {
    theme() {
      const dark = root.dataset.theme === 'dark' || (root.dataset.theme === 'auto' && matchMedia('(prefers-color-scheme:dark)').matches);
      root.dataset.theme = dark ? 'light' : 'dark';
      alc.store.set('theme', root.dataset.theme);
      alc.post('/me/preferences', {theme: root.dataset.theme});
      alc.say(dark ? 'Light theme' : 'Dark theme');
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
    unfold(button) { const open = button.previousElementSibling.classList.toggle('open'); button.textContent = open ? 'Show less' : 'Show more'; },
    shortcuts(button) {
      document.body.dataset.keys = button.checked ? 'on' : 'off';
      alc.post('/me/preferences', {shortcuts: button.checked ? 'on' : 'off'});
    },
    reveal(button) {
      const input = $('input', button.parentElement), shown = input.type === 'text';
      input.type = shown ? 'password' : 'text';
      button.setAttribute('aria-pressed', !shown);
    },
    'close-menu'() { $('#menu').hidePopover(); focusBack(); },
    subnav(button) { button.setAttribute('aria-expanded', button.closest('.subnav').toggleAttribute('data-open')); },
  });
  if (/Mac|iP(hone|ad)/.test(navigator.platform)) $$('[data-mod]').forEach(node => { node.textContent = '⌘K'; });

  // What was opened while this script was on its way.
  $$('.menu:popover-open').forEach(opened);
  for (const id of ['menu', 'sheet']) if (document.getElementById(id)?.children.length) show(document.getElementById(id));
})();
