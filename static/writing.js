// Writing: drafts that are kept, files that go up, canned replies, and sending. composer.js loads it.
(() => {
  const {$, $$, store} = alc, {form, mode, box, key, way, count, settle, grow, outbox} = alc.composer;
  const files = new Map(); // composer key → uploads
  const uploads = f => files.get(f.dataset.composer) || files.set(f.dataset.composer, []).get(f.dataset.composer);
  const list = f => document.getElementById(`canned-${f.dataset.composer}`);
  const GAP = /\{\{[^{}]*\}\}/;

  // --- how many texts a text is ---
  const gsm = /^[\w @£$¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ!"#¤%&'()*+,\-./:;<=>?¡ÄÖÑÜ§¿äöñüà^{}\\[~\]|€\r\n]*$/;
  alc.segments = text => {
    const plain = gsm.test(text), size = plain ? text.length + (text.match(/[\^{}\\[~\]|€]/g) || []).length : text.length;
    const one = plain ? 160 : 70, many = plain ? 153 : 67, n = size <= one ? 1 : Math.ceil(size / many);
    return `${n} SMS (${plain ? 'GSM-7' : 'Unicode'})`;
  };

  // --- drafts: here at once, on the server soon after; one writer per draft, so that a late save revives nothing ---
  const saving = new Map();
  function keep(f, which, now) {
    const text = box(f, which).value, id = key(f, which);
    store.set(id, text && JSON.stringify({text, at: Date.now()}));
    document.dispatchEvent(new CustomEvent('drafted', {detail: {number: f.dataset.composer, text}}));
    const last = saving.get(id) || {};
    clearTimeout(last.timer);
    const url = f.dataset.draft;
    if (!url || !document.body.dataset.user) return;
    last.timer = setTimeout(() => {
      last.chain = (last.chain || Promise.resolve()).then(() => box(f, which)?.value === text &&
        alc.post(url, {mode: which, body: text}).then(a => { const s = $('[data-saved]', f); if (a.ok && s) s.textContent = text ? 'Draft saved' : ''; }).catch(() => {}));
    }, now ? 0 : 800);
    saving.set(id, last);
  }
  addEventListener('pagehide', () => {
    const f = form();
    if (!f?.dataset.draft) return;
    for (const which of ['reply', 'note']) {
      const area = box(f, which), body = new URLSearchParams({mode: which, body: area?.value || '', csrf_token: alc.headers()['X-CSRFToken'] || ''});
      if (area?.value) navigator.sendBeacon(f.dataset.draft, body);
    }
  });

  // --- files: they go up at once, so that sending is instant ---
  function attach(f, given) {
    for (const file of given) {
      const node = document.createElement('div'), item = {node, file, name: file.name || 'pasted image.png'};
      node.className = 'up';
      const w = way(f), media = w ? JSON.parse(w.dataset.media) : {}, type = file.type || '*/*';
      const allowed = media[type] ?? media[type.split('/')[0] + '/*'] ?? media['*/*'] ?? (file.type ? 0 : 1e12);
      const most = Math.min(+f.dataset.maxBytes, allowed || 1e12), mb = n => (n / 1048576).toFixed(n < 10485760 ? 1 : 0).replace('.0', '');
      const wrong = !allowed ? `${w.dataset.label} does not take this type` : file.size > most ? `${mb(file.size)} MB, over the ${mb(most)} MB limit` : '';
      node.innerHTML = '<span class="trunc"></span><span class="muted num"></span><button class="icon-btn sm" type="button">×</button>';
      node.firstChild.textContent = item.name + (wrong ? ' · ' + wrong : '');
      const button = $('button', node);
      button.setAttribute('aria-label', `Remove ${item.name}`);
      button.onclick = () => { item.xhr?.abort(); node.remove(); uploads(f).splice(uploads(f).indexOf(item), 1); waiting(f); };
      uploads(f).push(item);
      $('[data-files]', f).append(node);
      if (wrong) { item.bad = true; node.classList.add('bad'); alc.say(`${item.name}: ${wrong}`, true); } else upload(f, item);
    }
  }
  function upload(f, item) {
    const {node} = item, xhr = item.xhr = new XMLHttpRequest(), bar = document.createElement('progress'), body = new FormData();
    bar.max = 100; bar.value = 0; bar.setAttribute('aria-label', `Uploading ${item.name}`);
    node.classList.remove('bad');
    node.append(bar);
    body.append('file', item.file, item.name);
    xhr.open('POST', f.dataset.upload);
    for (const [name, value] of Object.entries(alc.headers())) xhr.setRequestHeader(name, value);
    xhr.upload.onprogress = e => { bar.value = Math.round(e.loaded / e.total * 100); node.children[1].textContent = bar.value + '%'; };
    xhr.onloadend = () => {
      bar.remove();
      if (xhr.status === 201) { item.id = JSON.parse(xhr.responseText).id; node.children[1].textContent = ''; alc.say(`${item.name} attached`); return waiting(f); }
      if (xhr.status === 401) alc.failed(401);
      item.bad = !!xhr.status;
      node.classList.add('bad');
      node.firstChild.textContent = `${item.name} · ${(xhr.status && alc.reason(xhr.responseText)) || 'not uploaded'}`;
      const again = Object.assign(document.createElement('button'), {type: 'button', className: 'btn link xs', textContent: 'Retry'});
      again.onclick = () => { again.remove(); node.firstChild.textContent = item.name; upload(f, item); };
      node.children[1].replaceChildren(again);
      waiting(f);
    };
    xhr.send(body);
    waiting(f);
  }
  document.addEventListener('paste', e => {
    const f = e.target.closest?.('[data-composer]');
    if (f && e.clipboardData.files.length && mode(f) === 'reply') { e.preventDefault(); attach(f, e.clipboardData.files); }
  });
  const dropping = (e, on) => {
    const f = e.target.closest?.('.thread, .ecol')?.querySelector('[data-composer]');
    if (!f || !e.dataTransfer?.types.includes('Files')) return null;
    e.preventDefault();
    f.classList.toggle('dropping', on);
    return f;
  };
  document.addEventListener('dragover', e => dropping(e, true));
  document.addEventListener('dragleave', e => { if (!e.relatedTarget) $('.dropping')?.classList.remove('dropping'); });
  document.addEventListener('drop', e => { const f = dropping(e, false); if (f) { alc.write(f, 'reply'); attach(f, e.dataTransfer.files); } });

  function waiting(f) {
    const saved = $('[data-saved]', f), busy = uploads(f).some(u => !u.id && !u.bad);
    if (saved && f.pending) saved.textContent = busy ? 'Sends when the upload is done' : '';
    if (f.pending && !busy) { const then = f.pending; f.pending = null; send(f, then); }
  }

  // --- sending: the bubble stands at once; what cannot go out now goes in order when the connection is back ---
  let flushing;
  const queue = () => JSON.parse(store.get(outbox) || '[]');
  function send(f, {then = ''} = {}) {
    const which = mode(f), area = box(f, which), content = area.value;
    const done = which === 'note' ? [] : uploads(f).filter(u => u.id);
    if (which === 'reply') {
      if (uploads(f).some(u => u.bad)) return alc.toast({bad: true, text: 'Remove the file that cannot be sent first.'});
      if (uploads(f).some(u => !u.id)) { f.pending = {then}; return waiting(f); }
      const w = way(f), size = done.reduce((sum, u) => sum + u.file.size, 0);
      if (w && done.length > +w.dataset.most) return alc.toast({bad: true, text: `${w.dataset.label} takes ${w.dataset.most} files in one message. Remove some.`});
      if (+w?.dataset.total && size > +w.dataset.total) return alc.toast({bad: true, text: `${w.dataset.label} takes ${w.dataset.total / 1048576} MB of files in one message. Remove some, or send them one by one.`});
      if (!count(f)) return alc.toast({bad: true, text: `This is too long for ${way(f).dataset.label}.`});
      const gap = content.match(GAP);
      if (gap) { area.focus(); area.setSelectionRange(gap.index, gap.index + gap[0].length); return alc.toast({bad: true, text: 'Fill in the marked gap first.'}); }
    }
    if (!content.trim() && !done.length) return area.focus();
    const id = crypto.randomUUID?.() || '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, c => (c ^ crypto.getRandomValues(new Uint8Array(1))[0] & 15 >> c / 4).toString(16));
    const values = [['content', content], ['client_id', id], ...done.map(u => ['attachment', u.id])];
    if (which === 'reply') values.push(['account', f.dataset.account], ['reply_to', f.dataset.replyTo || ''], ['subject', $('.subject', f).hidden ? '' : $('.subject', f).value]);
    bubble(f, which, id, content, done);
    area.value = ''; grow(area);
    if (which === 'reply') { files.delete(f.dataset.composer); $('[data-files]', f).replaceChildren(); $('.subject', f).value = ''; }
    const last = saving.get(key(f, which));
    clearTimeout(last?.timer);
    store.set(key(f, which));
    document.dispatchEvent(new CustomEvent('drafted', {detail: {number: f.dataset.composer, text: ''}}));
    $('[data-saved]', f).textContent = '';
    count(f);
    unquote(f);
    const job = {url: f.dataset[which === 'note' ? 'note' : 'send'], values, id, then, status: f.dataset.status, content, which, composer: f.dataset.composer};
    store.set(outbox, JSON.stringify([...queue(), job]));
    alc.say(which === 'note' ? 'Note added' : 'Sending');
    Promise.resolve(last?.chain).then(flush);
  }
  function unquote(f) { f.dataset.replyTo = ''; const chip = $('[data-quote]', f); if (chip) chip.hidden = true; }
  function bubble(f, which, id, content, done) {
    const list = $('.msgs', f.parentElement);
    if (!list) return;
    const li = document.createElement('li');
    li.className = `m pend ${which === 'note' ? 'note noav' : 'out'}`;
    li.dataset.pending = id;
    li.innerHTML = '<div class="bubble"><div class="txt"></div></div><div class="meta keep"><span class="spin"></span><span>Sending…</span></div>';
    $('.txt', li).textContent = content || done.map(u => u.name).join(', ');
    list.append(li);
    list.scrollTop = list.scrollHeight;
  }
  async function flush() {
    if (flushing) return;
    flushing = true;
    for (let job; (job = queue()[0]);) {
      const at = $(`[data-pending="${job.id}"]`);
      let answer;
      try { answer = await alc.post(job.url, new URLSearchParams(job.values)); } catch { answer = null; }
      if (!answer || answer.status >= 500 || answer.status === 401 || answer.status === 429) {
        if (at) $('.meta', at).textContent = 'Waiting for the connection…';
        if (answer?.status === 401) alc.failed(401);
        setTimeout(flush, 5000);
        break;
      }
      store.set(outbox, JSON.stringify(queue().filter(one => one.id !== job.id)));
      const text = await answer.text();
      if (answer.ok) {
        at?.remove();
        await alc.apply(text);
        if (job.then) alc.post(job.status, {status: job.then}).then(alc.apply);
      } else refused(job, at, alc.reason(text) || 'it was refused');
    }
    flushing = false;
  }
  function refused(job, at, why) { // the text goes back into its box, if that is still free
    at?.remove();
    const f = $(`[data-composer="${job.composer}"]`), area = f && box(f, job.which);
    if (area && !area.value) { area.value = job.content; keep(f, job.which); settle(f); }
    else store.set(`draft:${document.body.dataset.user || ''}:${job.composer}:${job.which}`, JSON.stringify({text: job.content, at: Date.now()}));
    alc.toast({bad: true, text: `Not sent: ${why}`});
  }
  addEventListener('online', flush);
  document.addEventListener('live:state', e => e.detail === 'open' && flush());
  document.addEventListener('signed-in', flush);

  // --- canned replies: `/` at the beginning of a line ---
  const wanted = f => mode(f) === 'reply' ? box(f).value.slice(0, box(f).selectionStart).match(/(?:^|\n)\/([\w-]*)$/)?.[1] : undefined;
  async function fetched(f, menu) {
    const answer = await fetch(f.dataset.canned, {headers: alc.headers()});
    if (answer.ok) menu.innerHTML = await answer.text(); else menu.fetched = null;
  }
  async function canned(f, word) {
    const menu = list(f), area = box(f);
    if (!menu) return;
    await Promise.all([menu.fetched ||= fetched(f, menu), alc.need('overlays')]);
    word ??= wanted(f); // as it stands now: who types fast has gone on meanwhile
    if (word === undefined || !menu.fetched) return;
    const found = alc.filter(menu, [word.toLowerCase()].filter(Boolean));
    menu.hidden = !found && !!word;
    area.setAttribute('aria-controls', menu.id);
    mark(area, menu, 0);
    if (!menu.hidden) alc.say(`${found} replies`);
  }
  const shown = menu => $$('[role=option]', menu).filter(o => !o.hidden);
  function mark(area, menu, at) {
    const all = shown(menu);
    all.forEach((o, i) => o.setAttribute('aria-selected', i === (at + all.length) % all.length));
    const one = all[(at + all.length) % all.length];
    one?.scrollIntoView({block: 'nearest'});
    one && !menu.hidden ? area.setAttribute('aria-activedescendant', one.id) : area.removeAttribute('aria-activedescendant');
  }
  const shut = f => { const menu = list(f); if (menu) { menu.hidden = true; box(f).removeAttribute('aria-activedescendant'); } };
  function insert(f, option) {
    const area = box(f), before = area.value.slice(0, area.selectionStart).replace(/(^|\n)\/[^\n]*$/, '$1'), after = area.value.slice(area.selectionStart);
    area.value = before + option.dataset.body + after;
    const gap = option.dataset.body.match(GAP), at = before.length + (gap ? gap.index : option.dataset.body.length);
    area.focus();
    area.setSelectionRange(at, at + (gap ? gap[0].length : 0));
    shut(f); count(f); grow(area); keep(f, mode(f));
  }
  function keysOfCanned(f, e) {
    const menu = list(f);
    if (!menu || menu.hidden) return false;
    const all = shown(menu), at = all.findIndex(o => o.getAttribute('aria-selected') === 'true');
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') mark(e.target, menu, at + (e.key === 'ArrowDown' ? 1 : -1));
    else if ((e.key === 'Enter' || e.key === 'Tab') && all[at]) insert(f, all[at]);
    else if (e.key === 'Escape') shut(f);
    else return false;
    e.preventDefault();
    return true;
  }

  // --- a template: its text fills in while one types, and its file goes up at once ---
  const sheet = e => e.target.closest?.('[data-sheet]');
  document.addEventListener('input', e => {
    const value = e.target.value.trim();
    if (sheet(e)) for (const gap of $$('[data-gap]', sheet(e))) if (gap.dataset.gap === e.target.name) {
      gap.textContent = value || gap.dataset.empty;
      gap.classList.toggle('on', !!value);
    }
  });
  document.addEventListener('change', async e => {
    const at = e.target.type === 'file' && sheet(e);
    if (!at) return;
    const [file] = e.target.files, kept = $('[name=attachment]', at), state = $('[data-file-state]', at), button = $('[type=submit]', at), body = new FormData();
    kept.disabled = true;
    if (!file) return;
    button.disabled = true;
    state.textContent = 'Uploading…';
    body.append('file', file, file.name);
    const answer = await alc.post(form().dataset.upload, body).catch(() => null);
    if (e.target.files[0] !== file) return; // another one was chosen meanwhile
    button.disabled = false;
    if (answer?.ok) {
      kept.value = (await answer.json()).id;
      kept.disabled = false;
      $('[data-file-name]', at).textContent = file.name;
      state.textContent = `${file.name} goes along.`;
    } else {
      state.textContent = `Not uploaded: ${(answer && alc.reason(await answer.text())) || 'the server cannot be reached'}`;
      e.target.value = '';
    }
  });

  // --- what people do ---
  function typed(f) {
    keep(f, mode(f)); count(f); grow(box(f));
    wanted(f) === undefined ? shut(f) : canned(f);
  }
  function enter(f, e) {
    if (e.ctrlKey || e.metaKey || document.body.dataset.send !== 'mod') send(f); else box(f).setRangeText('\n', box(f).selectionStart, box(f).selectionEnd, 'end');
  }
  const area = e => e.target.matches?.('[data-composer] textarea') && form(e.target);
  document.addEventListener('input', e => { const f = area(e); if (f) typed(f); });
  document.addEventListener('keydown', e => {
    const f = area(e);
    if (!f || e.isComposing || e.keyCode === 229 || keysOfCanned(f, e)) return;
    if (e.key === 'Enter' && !e.shiftKey && (e.ctrlKey || e.metaKey || document.body.dataset.send !== 'mod')) { e.preventDefault(); send(f); }
    else if (e.key === 'Tab' && !e.shiftKey) {
      const gap = GAP.exec(e.target.value.slice(e.target.selectionEnd));
      if (gap) { e.preventDefault(); const at = e.target.selectionEnd + gap.index; e.target.setSelectionRange(at, at + gap[0].length); }
    }
  });
  document.addEventListener('focusout', e => { const f = area(e); if (f && e.target.value) keep(f, mode(f), true); });
  document.addEventListener('click', e => {
    const f = form(e.target), reply = e.target.closest?.('[data-composer] [data-body]');
    if (reply) insert(f, reply); else if (f && !e.target.closest('[data-act=canned]')) shut(f);
  });

  alc.writer = {
    send, attach, enter,
    canned(button) { const f = form(button); list(f).hidden ? (box(f).focus(), canned(f, '')) : shut(f); },
    quote(button) { // answer one message by name
      const f = form(), li = button.closest('.m'), chip = $('[data-quote]', f);
      f.dataset.replyTo = li.id.slice(2);
      $('span', chip).textContent = ($('.txt', li)?.textContent || 'Attachment').slice(0, 120);
      chip.hidden = false;
      alc.write(f, 'reply');
    },
    unquote: button => unquote(form(button)),
    wake(f) {
      uploads(f).forEach(u => $('[data-files]', f).append(u.node));
      queue().filter(job => job.composer === f.dataset.composer && !$(`[data-pending="${job.id}"]`)).forEach(job => bubble(f, job.which, job.id, job.content, []));
    },
  };
  // What was typed before this script was here.
  for (const f of $$('[data-composer]')) { alc.writer.wake(f); if (box(f).value) typed(f); }
  flush();
})();
