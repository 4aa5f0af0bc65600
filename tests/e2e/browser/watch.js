'use strict';
/* node watch.js URL
 * Opens a space's page and prints a JSON line for each state it shows, until stdin closes. */
const { launch } = require('./chromium.js');

async function main() {
  const browser = await launch();
  try {
    const page = await browser.newPage();
    await page.exposeFunction('causewayTell', line => console.log(line));
    await page.addInitScript(() => {
      let last = '';
      const tell = () => {
        const root = document.documentElement;
        const detail = document.getElementById('detail');
        const line = JSON.stringify({
          state: root.dataset.state || '', detail: detail ? detail.textContent : '',
        });
        if (line !== last) {
          last = line;
          window.causewayTell(line);
        }
      };
      new MutationObserver(tell).observe(document, {
        subtree: true, childList: true, characterData: true, attributes: true,
        attributeFilter: ['data-state'],
      });
    });
    await page.goto(process.argv[2]);
    await new Promise(resolve => process.stdin.on('end', resolve).resume());
  } finally {
    await browser.close();
  }
}

main().catch(error => {
  console.error(`watch.js: ${error.message}`);
  process.exitCode = 1;
});
