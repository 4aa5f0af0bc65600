'use strict';
/* Debian's Chromium with an empty profile, and what the tests ask of the viewer's page. */
const { chromium } = require('playwright-core');

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

function launch(more = []) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium', headless: true,
    args: [...FLAGS, ...more],
  });
}

/* Until `fn(arg)` is true in the page. Playwright's own way needs eval there, which our pages
   forbid. */
async function until(page, fn, arg, timeout = 20000) {
  const end = Date.now() + timeout;
  while (!await page.evaluate(fn, arg)) {
    if (Date.now() > end) {
      const seen = await page.evaluate(() => document.documentElement.dataset.state);
      throw new Error(`not within ${timeout} ms (the page's state is ${seen}): ${fn}`);
    }
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

/* Until the page shows `state` (and a picture; all of it without loss, if `lossless`). */
function waitForState(page, state, { picture = true, lossless = false, timeout = 20000 } = {}) {
  return until(page, want => {
    const c = window.causeway;
    return c && document.documentElement.dataset.state === want.state &&
      (!want.picture || c.firstPictureMs !== null) && (!want.lossless || c.lossless);
  }, { state, picture, lossless }, timeout);
}

/* The canvas's own pixels, unscaled, as a PNG file. */
async function canvasPng(page) {
  const url = await page.evaluate(() => document.getElementById('screen').toDataURL('image/png'));
  return Buffer.from(url.slice(url.indexOf(',') + 1), 'base64');
}

module.exports = { launch, until, waitForState, canvasPng };
