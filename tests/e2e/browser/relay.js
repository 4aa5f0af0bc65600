'use strict';
/* node relay.js '{"urls": [URL, URL], "username": ..., "credential": ..., "bytes": N, "spki": ...}'
 * Two peer connections in one page, each with a TURN server of its own, that may use nothing but
 * a relay: random data both ways over one data channel, then what it saw as JSON. Certificates
 * whose key has the SHA-256 `spki` (base64) are trusted. */
const { launch } = require('./chromium.js');

const WAIT_MS = 30000;

/* Runs in the page. */
async function exchange({ urls, username, credential, bytes, waitMs }) {
  const [a, b] = urls.map(url => new RTCPeerConnection({
    iceServers: [{ urls: [url], username, credential }], iceTransportPolicy: 'relay',
  }));
  const errors = [], candidates = [];
  for (const [from, to] of [[a, b], [b, a]]) {
    from.onicecandidate = e => {
      if (e.candidate && e.candidate.candidate) {
        candidates.push(e.candidate.candidate);
        to.addIceCandidate(e.candidate);
      }
    };
    from.onicecandidateerror = e => errors.push(`${e.errorCode} ${e.errorText}`);
  }
  const noRelay = new Promise((_, fail) => {
    a.onicegatheringstatechange = () => {
      if (a.iceGatheringState === 'complete' && candidates.length === 0) {
        fail(new Error('no relay'));
      }
    };
  });
  const within = (promise, what) => Promise.race([promise, noRelay, new Promise((_, fail) => setTimeout(
    () => fail(new Error(`${what}: not within ${waitMs} ms`)), waitMs))]);
  const opened = channel => new Promise(done => { channel.onopen = () => done(channel); });
  const digest = async data => Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', data)),
    x => x.toString(16).padStart(2, '0')).join('');

  /* All of it comes back in pieces; what is compared is what the other side took out. */
  const receive = channel => new Promise(done => {
    const got = new Uint8Array(bytes);
    let at = 0;
    channel.binaryType = 'arraybuffer';
    channel.onmessage = e => {
      got.set(new Uint8Array(e.data), at);
      at += e.data.byteLength;
      if (at === bytes) {
        done(got);
      }
    };
  });
  const send = (channel, data) => {
    for (let at = 0; at < data.length; at += 16000) {
      channel.send(data.subarray(at, at + 16000));
    }
  };
  const random = () => {
    const data = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at += 65536) {
      crypto.getRandomValues(data.subarray(at, at + 65536));
    }
    return data;
  };
  const protocols = async pc => {
    const stats = await pc.getStats();
    const transport = [...stats.values()].find(s => s.type === 'transport');
    const pair = stats.get(transport.selectedCandidatePairId);
    const local = stats.get(pair.localCandidateId);
    return { type: local.candidateType, relayProtocol: local.relayProtocol,
      remote: stats.get(pair.remoteCandidateId).candidateType };
  };

  try {
    const left = a.createDataChannel('data');
    const ready = [opened(left), new Promise(done => { b.ondatachannel = e => done(e.channel); })];
    await a.setLocalDescription();
    await b.setRemoteDescription(a.localDescription);
    await b.setLocalDescription();
    await a.setRemoteDescription(b.localDescription);
    const [, right] = await within(Promise.all(ready), 'no data channel');
    const [toRight, toLeft] = [random(), random()];
    const taken = [receive(right), receive(left)];
    send(left, toRight);
    send(right, toLeft);
    const [atRight, atLeft] = await within(Promise.all(taken), 'the data is not through');
    return {
      same: await digest(toRight) === await digest(atRight) &&
        await digest(toLeft) === await digest(atLeft),
      ends: [await protocols(a), await protocols(b)], candidates, errors,
    };
  } catch (e) {
    return { failed: String(e), candidates, errors };
  } finally {
    a.close();
    b.close();
  }
}

async function main() {
  const { spki, ...what } = JSON.parse(process.argv[2]);
  const browser = await launch(spki ? [`--ignore-certificate-errors-spki-list=${spki}`] : []);
  try {
    const page = await browser.newPage();
    await page.route('**', route => route.fulfill({ contentType: 'text/html', body: '' }));
    await page.goto('http://localhost/'); /* crypto.subtle wants a secure context */
    console.log(JSON.stringify(await page.evaluate(exchange, { waitMs: WAIT_MS, ...what })));
  } finally {
    await browser.close();
  }
}

main().catch(error => {
  console.error(`relay.js: ${error.message}`);
  process.exitCode = 1;
});
