// A thread while it is read, in the inbox and in the embed: messages in order and in groups, a line where a day begins,
// the way to the newest one, and what came in said aloud.
(() => {
  const {$, $$} = alc;
  const day = at => new Intl.DateTimeFormat('en-CA', {timeZone: document.body.dataset.zone || undefined}).format(new Date(at));
  const atEnd = box => box.scrollHeight - box.scrollTop - box.clientHeight < 80;
  const latest = on => { const button = $('.jump'); if (button) button.hidden = !on; };

  // A message that comes late goes to its place: where it came, or if that is long after, where it was written. What
  // one customer wrote in a row stands in the order of writing, whatever happened in between.
  const earlier = li => { do li = li.previousElementSibling; while (li && !li.dataset.at); return li; };
  const after = (one, li) => one.dataset.by === li.dataset.by && one.dataset.written && li.dataset.written
    ? one.dataset.written > li.dataset.written : one.dataset.at > li.dataset.at;
  function place(li) {
    let next;
    for (let one = earlier(li); one; one = earlier(one)) {
      if (after(one, li)) next = one; else if (one.matches('.m')) break;
    }
    if (!next) return;
    if (next.dataset.at < li.dataset.at) li.dataset.at = next.dataset.at;
    const line = next.previousElementSibling;
    (line?.matches('.day') && line.dataset.day > day(li.dataset.at) ? line : next).before(li);
  }
  const named = on => on === day(Date.now()) ? 'Today' : on === day(Date.now() - 864e5) ? 'Yesterday'
    : new Intl.DateTimeFormat('en-GB', {weekday: 'long', day: 'numeric', month: 'long', timeZone: 'UTC'}).format(new Date(on));

  // Messages come from a send, from the stream or from a page further back; each finds its place and its neighbours.
  alc.group = () => {
    const box = $('.msgs');
    if (!box) return;
    $$(':scope > [data-at][data-into]', box).forEach(place);
    const items = $$(':scope > [data-at]', box);
    let before;
    for (const li of items) {
      const on = day(li.dataset.at);
      if (li.dataset.into && !$(`.day[data-day="${on}"]`, box)) {
        const line = Object.assign(document.createElement('li'), {className: 'day'});
        line.dataset.day = on;
        line.append(Object.assign(document.createElement('time'), {dateTime: on, textContent: named(on)}));
        li.before(line);
      }
      const joins = before?.dataset.by && before.dataset.by === li.dataset.by && before.nextElementSibling === li && !li.matches('.mail')
        && Date.parse(li.dataset.at) - Date.parse(before.dataset.at) < 180000;
      before?.classList.toggle('t', !!joins);
      li.classList.toggle('g', !!joins);
      before = li;
    }
    before?.classList.remove('t');
    if (items.length) $('[data-none]', box)?.remove();
    for (const li of $$('[data-client]', box)) $(`[data-pending="${li.dataset.client}"]`)?.remove();
    for (const li of $$('[data-pending]', box)) if (li.nextElementSibling) box.append(li);
  };

  alc.toEnd = () => { const box = $('.msgs'); if (box) box.scrollTop = box.scrollHeight; latest(false); };
  alc.acts.latest = alc.toEnd;
  document.addEventListener('live:below', e => e.detail.scroll.matches('.msgs') && latest(true));
  document.addEventListener('scroll', e => { if (e.target.matches?.('.msgs') && atEnd(e.target)) latest(false); }, true);

  // What comes in is said at most once in a while, and many at once as a number.
  let heard = [], saying;
  alc.hear = li => {
    heard.push(li);
    clearTimeout(saying);
    saying = setTimeout(() => {
      alc.say(heard.length > 1 ? `${heard.length} new messages`
        : `New message from ${heard[0].dataset.say}: ${($('.txt', heard[0])?.textContent || 'a file').slice(0, 120)}`);
      heard = [];
    }, 600);
  };

  // Call `then` after every change of the thread, with the messages that customers wrote just now.
  alc.watchThread = then => {
    const box = $('.msgs');
    if (!box || box.watched) return;
    box.watched = new MutationObserver(changes => {
      const fresh = [];
      for (const change of changes) for (const node of change.addedNodes) {
        const replaced = [...change.removedNodes].some(gone => gone.id === node.id);
        if (node.dataset?.say && node.dataset.into && !replaced && Date.now() - Date.parse(node.dataset.version) < 60000) fresh.push(node);
      }
      fresh.forEach(alc.hear);
      alc.group();
      then?.(fresh);
      box.watched.takeRecords();
    });
    box.watched.observe(box, {childList: true});
  };
})();
