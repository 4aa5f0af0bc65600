'use strict';

/* docs/viewer-protocol.md */
const UPDATE = 1, CURSOR = 2, POINTER = 3, ACK = 4;
const FORMATS = { 1: 'image/jpeg', 2: 'image/png' };
const FLAG_LOSSLESS = 1;

const TEXTS = {
  loading: ['Connecting to the server …', ''],
  waiting: ['Nobody is sharing yet', 'The picture appears here by itself.'],
  connecting: ['Connecting to the shared screen …', ''],
  live: ['Live', ''],
  paused: ['Sharing is paused', ''],
  ended: ['Sharing has ended', ''],
  missing: ['There is no space of this name', 'Capitals and small letters count. Look in the list:'],
  full: ['This space is full', 'It has as many viewers as the server allows. Trying again …'],
  lost: ['Connection lost, trying again …', ''],
};
const BADGES = {
  waiting: 'Waiting', connecting: 'Connecting', live: 'Live', paused: 'Paused', ended: 'Ended',
  missing: 'Not found', full: 'Full', lost: 'Offline',
};

const root = document.documentElement;
const element = id => document.getElementById(id);
const canvas = element('screen'), pointer = element('pointer'), frame = element('frame');
const paint = canvas.getContext('2d', { alpha: false });
const cursor = { hotX: 0, hotY: 0, x: 0, y: 0, scale: 1 };
const name = spaceName();
let lastHeard = ''; /* the state this connection told last */

window.causeway = { state: 'loading', seq: 0, lossless: false, firstPictureMs: null };

function spaceName() {
  try {
    return decodeURIComponent(location.pathname.slice('/space/'.length));
  } catch {
    return ''; /* broken percent signs: the server knows no such space either */
  }
}

function showState(state, detail, sharer) {
  const [headline, usual] = TEXTS[state] || [state, ''];
  window.causeway.state = state;
  root.dataset.state = state;
  element('badge').textContent = BADGES[state] || '';
  element('headline').textContent = headline;
  element('detail').textContent = detail || usual;
  element('back').hidden = state !== 'missing';
  if (sharer !== undefined) {
    element('sharer').textContent = sharer || '';
  }
}

/* The canvas keeps the picture's own pixels; CSS scales it into the window. */
function layout() {
  const stage = element('stage'), dots = window.devicePixelRatio || 1;
  const scale = Math.min(stage.clientWidth / canvas.width, stage.clientHeight / canvas.height);
  frame.style.width = `${canvas.width * scale}px`;
  frame.style.height = `${canvas.height * scale}px`;
  frame.classList.toggle('sharp', Number.isInteger(scale * dots) || scale * dots >= 3);
  cursor.scale = scale;
  movePointer();
}

function movePointer() {
  const x = (cursor.x - cursor.hotX) * cursor.scale, y = (cursor.y - cursor.hotY) * cursor.scale;
  pointer.style.transform = `translate(${x}px, ${y}px) scale(${cursor.scale})`;
}

function readUpdate(view) {
  const update = {
    flags: view.getUint8(1), seq: view.getUint32(2),
    width: view.getUint16(6), height: view.getUint16(8), rects: [],
  };
  let at = 12;
  for (let i = view.getUint16(10); i > 0; i--) {
    const length = view.getUint32(at + 9);
    update.rects.push({
      x: view.getUint16(at), y: view.getUint16(at + 2),
      blob: new Blob([new Uint8Array(view.buffer, at + 13, length)],
        { type: FORMATS[view.getUint8(at + 8)] }),
    });
    at += 13 + length;
  }
  return update;
}

function paintUpdate(update, bitmaps) {
  if (canvas.width !== update.width || canvas.height !== update.height) {
    canvas.width = update.width;
    canvas.height = update.height;
    frame.hidden = false;
    root.classList.add('has-picture');
    layout();
  }
  bitmaps.forEach((bitmap, i) => {
    paint.drawImage(bitmap, update.rects[i].x, update.rects[i].y);
    bitmap.close();
  });
  window.causeway.seq = update.seq;
  window.causeway.lossless = (update.flags & FLAG_LOSSLESS) !== 0;
  window.causeway.firstPictureMs ??= Math.round(performance.now());
}

function acknowledge(socket, seq) {
  if (socket.readyState === WebSocket.OPEN) {
    const message = new DataView(new ArrayBuffer(5));
    message.setUint8(0, ACK);
    message.setUint32(1, seq);
    socket.send(message.buffer);
  }
}

/* Pictures are decoded side by side and painted in the order they came. */
let painted = Promise.resolve();
function takeUpdate(view, socket) {
  const update = readUpdate(view);
  const exact = { colorSpaceConversion: 'none', premultiplyAlpha: 'none' };
  const decoded = Promise.all(update.rects.map(r => createImageBitmap(r.blob, exact)));
  decoded.catch(() => {}); /* is dealt with in its turn, below */
  painted = painted.then(async () => {
    paintUpdate(update, await decoded);
    acknowledge(socket, update.seq);
  }).catch(() => socket.close());
}

function takeCursor(view) {
  const width = view.getUint16(1), height = view.getUint16(3);
  cursor.hotX = view.getUint16(5);
  cursor.hotY = view.getUint16(7);
  pointer.hidden = width === 0 || height === 0;
  if (!pointer.hidden) {
    pointer.width = width;
    pointer.height = height;
    const pixels = new Uint8ClampedArray(view.buffer, 9, width * height * 4);
    pointer.getContext('2d').putImageData(new ImageData(pixels, width, height), 0, 0);
  }
  movePointer();
}

function heard(data, socket) {
  if (typeof data === 'string') {
    const message = JSON.parse(data);
    lastHeard = message.state;
    showState(message.state, message.detail, message.sharer);
    return;
  }
  const view = new DataView(data);
  switch (view.getUint8(0)) {
    case UPDATE:
      takeUpdate(view, socket);
      break;
    case CURSOR:
      takeCursor(view);
      break;
    case POINTER:
      cursor.x = view.getUint16(1);
      cursor.y = view.getUint16(3);
      movePointer();
      break;
  }
}

/* After these two the server closes the connection: there is more to say than that it is lost. */
const REFUSED = ['missing', 'full'];
function closed() {
  window.causeway.lossless = false;
  if (!REFUSED.includes(lastHeard)) {
    showState('lost');
  }
  lastHeard = '';
}

function toggleFull() {
  if (document.fullscreenElement) {
    document.exitFullscreen();
  } else if (root.requestFullscreen) {
    root.requestFullscreen().catch(() => {});
  }
}

element('name').textContent = name;
document.title = `${name} · Causeway`;
element('full').hidden = !document.fullscreenEnabled;
element('full').onclick = toggleFull;
addEventListener('keydown', event => {
  if (event.key === 'f' && !event.ctrlKey && !event.metaKey && !event.altKey) {
    toggleFull();
  }
});
new ResizeObserver(layout).observe(element('stage'));
showState('loading');
keepSocket(`/ws/${encodeURIComponent(name)}`, 'causeway-view-1', heard, closed);
