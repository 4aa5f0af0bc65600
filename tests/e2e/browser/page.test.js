'use strict';
/* The pages in a real browser, on pictures that web_demo serves. node --test; WEB_DEMO names it. */
const { test, before, after, beforeEach, afterEach } = require('node:test');
const assert = require('node:assert');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const { launch, until, waitForState } = require('./chromium.js');

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'causeway-page-'));
let browser, demo, context;

/* web_demo as a child: tell() sends a line and resolves when it was obeyed. */
async function start(listen = '127.0.0.1', stallMs = 0) {
  const child = spawn(process.env.WEB_DEMO, [listen, String(stallMs)],
    { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    assert.ok(!done, 'web_demo ended');
    return value;
  };
  const port = Number((await next()).replace('port=', ''));
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    async tell(line) {
      child.stdin.write(`${line}\n`);
      assert.strictEqual(await next(), 'ok');
    },
    async stop() {
      const ended = new Promise(resolve => child.once('exit', resolve));
      child.stdin.end();
      assert.strictEqual(await ended, 0, 'web_demo must end cleanly');
    },
  };
}

before(async () => { browser = await launch(); });
after(async () => {
  await browser.close();
  fs.rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  demo = await start();
  context = await browser.newContext({ viewport: { width: 1000, height: 700 } });
});
afterEach(async () => {
  await context.close();
  await demo.stop();
});

async function open(where = '/space/demo') {
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', error => wrong.push(String(error)));
  page.on('console', m => { if (m.type() === 'error' && /Security|Uncaught/.test(m.text())) wrong.push(m.text()); });
  page.wrong = wrong;
  await page.goto(demo.url + where);
  return page;
}

/* In dB, Infinity when every pixel is the same: the canvas against what web_demo shows. */
async function psnr(page) {
  const file = path.join(folder, 'source.png');
  await demo.tell(`dump ${file}`);
  const mse = await page.evaluate(async base64 => {
    const bytes = Uint8Array.from(atob(base64), c => c.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const canvas = document.getElementById('screen');
    if (canvas.width !== image.width || canvas.height !== image.height) {
      return 65025;
    }
    const other = new OffscreenCanvas(image.width, image.height).getContext('2d', { alpha: false });
    other.drawImage(image, 0, 0);
    const a = other.getImageData(0, 0, image.width, image.height).data;
    const b = canvas.getContext('2d').getImageData(0, 0, image.width, image.height).data;
    let sum = 0;
    for (let i = 0; i < a.length; i++) {
      sum += (a[i] - b[i]) ** 2;
    }
    return sum / (a.length * 3 / 4);
  }, fs.readFileSync(file).toString('base64'));
  return 10 * Math.log10(255 * 255 / mse);
}

const seq = page => page.evaluate(() => window.causeway.seq);
const seqBeyond = (page, n) => until(page, m => window.causeway.seq > m, n);

test('the picture is the source: well at once, exactly after the refresh', async () => {
  await demo.tell('move');
  const page = await open();
  await waitForState(page, 'live');
  await seqBeyond(page, 20);
  await demo.tell('freeze');
  await waitForState(page, 'live', { lossless: true });
  assert.strictEqual(await psnr(page), Infinity);
  await demo.tell('step');
  const before = await seq(page);
  await seqBeyond(page, before);
  const lossy = await psnr(page);
  assert.ok(lossy >= 35, `${lossy} dB`);
  assert.deepStrictEqual(page.wrong, []);
});

test('the page follows the state and says why', async () => {
  const page = await open();
  await waitForState(page, 'live');
  for (const state of ['paused', 'ended', 'waiting', 'connecting', 'live']) {
    await demo.tell(`state demo ${state} Bob The reason is ${state}.`);
    await waitForState(page, state);
    assert.strictEqual(await page.textContent('#detail'), `The reason is ${state}.`);
    assert.strictEqual(await page.textContent('#sharer'), 'Bob');
    assert.strictEqual(await page.evaluate(() => window.causeway.state), state);
  }
  await demo.tell('drop demo');
  await waitForState(page, 'missing');
});

test('names from outside stay text', async () => {
  const evil = '<img/src=x>"&%41';
  await demo.tell(`state <b>"&%41 live <i>x</i> <script>alert(1)</script>`);
  const index = await open('/');
  await index.waitForSelector('.card h2:text("<b>")');
  assert.strictEqual(await index.locator('.card b, .card i, .card script').count(), 0, evil);
  await index.click('.card:has-text("<b>")');
  await waitForState(index, 'live', { picture: false });
  assert.strictEqual(await index.textContent('#name'), '<b>"&%41');
  assert.strictEqual(await index.textContent('#detail'), '<script>alert(1)</script>');
  assert.deepStrictEqual(index.wrong, []);
});

test('two viewers and a late joiner all have the picture', async () => {
  await demo.tell('move');
  const pages = [await open(), await open()];
  for (const page of pages) {
    await waitForState(page, 'live');
    await seqBeyond(page, 5);
  }
  await demo.tell('freeze');
  pages.push(await open());
  for (const page of pages) {
    await waitForState(page, 'live', { lossless: true });
    assert.strictEqual(await psnr(page), Infinity);
  }
});

test('the canvas follows a change of size', async () => {
  const page = await open();
  await waitForState(page, 'live', { lossless: true });
  for (const [width, height] of [[1920, 1080], [1, 1], [333, 77]]) {
    await demo.tell(`size ${width} ${height}`);
    await until(page, ([w, h]) => {
      const c = document.getElementById('screen');
      return c.width === w && c.height === h && window.causeway.lossless;
    }, [width, height]);
    assert.strictEqual(await psnr(page), Infinity);
    const box = await page.locator('#screen').boundingBox();
    assert.ok(box.width <= 1000 && box.height <= 700, 'fits the window');
    assert.ok(Math.abs(box.width / box.height - width / height) / (width / height) < 0.02);
  }
});

test('a viewer that stalls slows nobody', async () => {
  await demo.tell('move');
  const slow = await open();
  const quick = await open();
  await waitForState(slow, 'live');
  await waitForState(quick, 'live');
  await slow.evaluate(() => { window.createImageBitmap = () => new Promise(() => {}); });
  const slowAt = await seq(slow);
  await seqBeyond(quick, await seq(quick) + 60);
  assert.ok(await seq(slow) <= slowAt + 2);
  await demo.tell('freeze');
  await waitForState(quick, 'live', { lossless: true });
  assert.strictEqual(await psnr(quick), Infinity);
});

test('the page comes back by itself when the server does', async () => {
  const page = await open();
  await waitForState(page, 'live', { lossless: true });
  const port = demo.port;
  await demo.stop();
  await waitForState(page, 'lost');
  assert.match(await page.textContent('#headline'), /Connection lost, trying again/);
  demo = await start(`127.0.0.1:${port}`);
  await demo.tell('size 640 480');
  await waitForState(page, 'live', { lossless: true });
  await until(page, () => document.getElementById('screen').width === 640);
  await waitForState(page, 'live', { lossless: true });
  assert.strictEqual(await psnr(page), Infinity);
});

test('the list shows spaces as they come and go', async () => {
  const index = await open('/');
  await index.waitForSelector('.card[data-state="live"] img:not([hidden])');
  assert.match(await index.textContent('.card'), /demo.*Ann Example/s);
  await demo.tell('state second waiting - Nobody yet.');
  await index.waitForSelector('.card[data-state="waiting"]:has-text("Nobody yet.")');
  await demo.tell('drop second');
  await until(index, () => document.querySelectorAll('.card').length === 1);
  assert.deepStrictEqual(index.wrong, []);
});

test('the pointer is drawn over the picture, not into it', async () => {
  const page = await open();
  await waitForState(page, 'live', { lossless: true });
  await demo.tell('cursor 400 300');
  await until(page, () => !document.getElementById('pointer').hidden);
  const screen = await page.locator('#screen').boundingBox();
  const pointer = await page.locator('#pointer').boundingBox();
  assert.ok(Math.abs(pointer.x + pointer.width / 2 - screen.x - screen.width / 2) < 2);
  assert.ok(Math.abs(pointer.y + pointer.height / 2 - screen.y - screen.height / 2) < 2);
  assert.strictEqual(await psnr(page), Infinity);
});

test('f turns full screen on and off', async () => {
  const page = await open();
  await waitForState(page, 'live');
  await page.keyboard.press('f');
  await until(page, () => document.fullscreenElement !== null);
  await page.keyboard.press('f');
  await until(page, () => document.fullscreenElement === null);
});
