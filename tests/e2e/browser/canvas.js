'use strict';
/* node canvas.js URL OUT.png [--state live] [--lossless] [--timeout MS]
 * Opens a space's page, waits for its state, writes the canvas, prints what it saw as JSON. */
const fs = require('node:fs');
const { parseArgs } = require('node:util');
const { launch, waitForState, canvasPng } = require('./chromium.js');

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      state: { type: 'string', default: 'live' },
      lossless: { type: 'boolean', default: false },
      timeout: { type: 'string', default: '20000' },
    },
  });
  if (positionals.length !== 2) {
    throw new Error('usage: canvas.js URL OUT.png [--state live] [--lossless] [--timeout MS]');
  }
  const [url, out] = positionals, timeout = Number(values.timeout);
  const browser = await launch();
  try {
    const page = await browser.newPage();
    await page.goto(url, { timeout });
    await waitForState(page, values.state, { lossless: values.lossless, timeout });
    fs.writeFileSync(out, await canvasPng(page));
    const seen = await page.evaluate(() => ({
      state: window.causeway.state, firstPictureMs: window.causeway.firstPictureMs,
      width: document.getElementById('screen').width,
      height: document.getElementById('screen').height,
    }));
    console.log(JSON.stringify(seen));
  } finally {
    await browser.close();
  }
}

main().catch(error => {
  console.error(`canvas.js: ${error.message}`);
  process.exitCode = 1;
});
