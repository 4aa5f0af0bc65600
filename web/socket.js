'use strict';

/* A WebSocket that comes back: `heard` gets the messages, `closed` each loss. After one it
   tries again, at first soon, then every ten seconds; at once when the network or the tab returns. */
function keepSocket(path, protocol, heard, closed) {
  const FIRST_MS = 500, LONGEST_MS = 10000;
  let socket = null, wait = FIRST_MS, timer = 0;

  function open() {
    clearTimeout(timer);
    timer = 0;
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const s = socket = new WebSocket(`${scheme}//${location.host}${path}`, protocol);
    s.binaryType = 'arraybuffer';
    s.onmessage = event => {
      if (s === socket) {
        wait = FIRST_MS;
        heard(event.data, s);
      }
    };
    s.onclose = () => {
      if (s !== socket) {
        return;
      }
      socket = null;
      closed();
      timer = setTimeout(open, wait * (0.75 + Math.random() / 2));
      wait = Math.min(wait * 2, LONGEST_MS);
    };
  }

  function hurry() {
    if (timer && document.visibilityState === 'visible') {
      wait = FIRST_MS;
      open();
    }
  }

  addEventListener('online', hurry);
  document.addEventListener('visibilitychange', hurry);
  open();
}
