'use strict';

const THUMB_EVERY_MS = 5000;
const LABELS = {
  waiting: 'Waiting', connecting: 'Connecting', live: 'Live', paused: 'Paused', ended: 'Ended',
};
const SCREEN_ICON = 'M3 4h18v12H3zM9 20h6M12 16v4';
const byName = id => document.getElementById(id);
let spaces = [];

function element(tag, className, text) {
  const e = document.createElement(tag);
  e.className = className || '';
  e.textContent = text || '';
  return e;
}

function icon() {
  const ns = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(ns, 'svg');
  const path = document.createElementNS(ns, 'path');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', SCREEN_ICON);
  path.setAttribute('fill', 'none');
  path.setAttribute('stroke', 'currentColor');
  path.setAttribute('stroke-width', '1.5');
  svg.append(path);
  return svg;
}

function thumbAddress(space) {
  return `/api/v1/spaces/${encodeURIComponent(space.name)}/snapshot.png?t=${Date.now()}`;
}

function cardNew() {
  const item = element('li'), link = element('a', 'card'), thumb = element('div', 'thumb');
  const image = element('img'), facts = element('div', 'facts');
  image.alt = '';
  image.hidden = true;
  image.onload = () => { image.hidden = false; };
  image.onerror = () => { image.hidden = true; };
  thumb.append(icon(), image, element('span', 'badge'));
  facts.append(element('h2'), element('p'), element('p'));
  link.append(thumb, facts);
  item.append(link);
  return item;
}

function viewersText(n) {
  return n === 1 ? '1 viewer' : `${n} viewers`;
}

function cardFill(item, space) {
  const [who, detail] = item.querySelectorAll('.facts p');
  const link = item.firstChild, image = item.querySelector('img');
  link.href = `/space/${encodeURIComponent(space.name)}`;
  link.dataset.state = space.state;
  item.dataset.name = space.name;
  item.querySelector('h2').textContent = space.name;
  item.querySelector('.badge').textContent = LABELS[space.state] || space.state;
  who.textContent = [space.sharer, viewersText(space.viewers)].filter(Boolean).join(' · ');
  detail.textContent = space.detail || '';
  if (space.width === 0) {
    image.hidden = true;
    image.removeAttribute('src');
  } else if (!image.getAttribute('src') || image.dataset.state !== space.state) {
    image.src = thumbAddress(space);
  }
  image.dataset.state = space.state;
}

function render() {
  const list = byName('spaces');
  const old = new Map([...list.children].map(item => [item.dataset.name, item]));
  list.replaceChildren(...spaces.map(space => {
    const item = old.get(space.name) || cardNew();
    cardFill(item, space);
    return item;
  }));
  const live = spaces.filter(space => space.state === 'live').length;
  byName('summary').textContent = spaces.length === 0 ? 'There are no spaces yet.'
    : `${live} live of ${spaces.length}`;
}

keepSocket('/ws', 'causeway-list-1', data => {
  const message = JSON.parse(data);
  if (message.spaces) {
    byName('notice').textContent = '';
    spaces = message.spaces;
    render();
  }
}, () => {
  byName('notice').textContent = 'Connection lost, trying again …';
});

setInterval(() => {
  if (document.visibilityState !== 'visible') {
    return;
  }
  for (const item of byName('spaces').children) {
    const space = spaces.find(s => s.name === item.dataset.name);
    if (space && space.state === 'live' && space.width > 0) {
      item.querySelector('img').src = thumbAddress(space);
    }
  }
}, THUMB_EVERY_MS);
