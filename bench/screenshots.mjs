// Makes the pictures of the console, of a real run of `noslate-fc dev` with the examples: cold starts, a freeze, failures
// and a burst. Takes a folder to write to, and parts of pictures' names; with some, only those.
//
//   npm run screenshots [-- FOLDER [PART]...]      without a folder: the one of the README, beside the charts
//
// Needs Debian's chromium, or the one that CHROMIUM names.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import autocannon from 'autocannon';
import { launchBrowser, startDesk } from './desk-run.mjs';

const [out, ...parts] = process.argv.length > 2 ? process.argv.slice(2) : ['bench/charts', 'now-light.png'];
const WIDTHS = { '': { width: 1280, height: 800 }, '-390': { width: 390, height: 844 } };
const DEPLOYMENT = `edition: 3.0.0
name: shop
access: default
resources:
  shop:
    component: fc3
    props:
      region: cn-hangzhou
      functionName: shop
      runtime: custom-container
      cpu: 0.5
      memorySize: 512
      timeout: 5
      instanceConcurrency: 1
      instanceLifecycleConfig:
        initializer: { handler: 'true', timeout: 10 }
      triggers:
        - triggerName: every-morning
          triggerType: timer
          triggerConfig: { cronExpression: '0 30 8 * * *', enable: true, payload: wake up }
        - triggerName: http
          triggerType: http
          triggerConfig: { authType: anonymous, methods: [GET, POST, PUT, DELETE, HEAD] }
`;

/** What is taken, once the session has been played: the place on the page, and what is done there first. */
const PICTURES = {
  now: { hash: '#/now' },
  calls: { hash: '#/calls' },
  call: { hash: '#/calls', act: page => page.locator('.row', { hasText: 'cold' }).first().click() },
  failure: { hash: '#/calls?status=failed', act: page => page.locator('.row').first().click() },
  send: {
    hash: '#/send',
    async act(page) {
      await page.getByRole('button', { name: 'Event', exact: true }).click();
      await page.getByLabel('Event of a trigger').selectOption('oss');
    },
  },
  instances: { hash: '#/instances' },
  costs: { hash: '#/costs', act: page => page.getByText('What FC bills').waitFor() },
  contract: { hash: '#/contract' },
};

const desk = await startDesk([], folder => writeFileSync(join(folder, 's.yaml'), DEPLOYMENT));
let browser;
try {
  browser = await launchBrowser();
  await play(desk.url);
  mkdirSync(out, { recursive: true });
  for (const colorScheme of ['light', 'dark']) {
    for (const [suffix, viewport] of Object.entries(WIDTHS)) await take(desk.page, colorScheme, viewport, suffix);
  }
} finally {
  await browser?.close();
  await desk.stop();
}

/** A session as one has it at a desk. */
async function play(url) {
  const pause = ms => new Promise(done => setTimeout(done, ms));
  const get = async (path, options) => (await fetch(url + path, options)).text();
  await get('/hello?name=desk');
  await get('/todos/1');
  await autocannon({ url: `${url}/echo`, method: 'POST', body: 'x'.repeat(1024), connections: 3, amount: 300 });
  await get('/fail/throw');
  await Promise.all([get('/hello'), get('/sse?events=1'), get('/todos/1')]);
  await get('/nowhere');
  await get('/2023-03-30/functions/shop/invocations', { method: 'POST', body: '{"amount":20}' });
  desk.child.stdin.write('crash\n');
  await pause(1500);
  desk.child.stdin.write('stop\n');
  await pause(1000);
  await get('/hello?name=cold');
  await pause(400);
  await get('/todos/1');
  await get('/fail/status');
  await get('/hello?name=warm');
}

async function take(pageUrl, colorScheme, viewport, suffix) {
  const context = await browser.newContext({ colorScheme, viewport, deviceScaleFactor: 1 });
  try {
    for (const [name, { hash, act }] of Object.entries(PICTURES)) {
      const file = `console-${name}-${colorScheme}${suffix}.png`;
      if (parts.length > 0 && !parts.some(part => file.includes(part))) continue;
      const page = await context.newPage();
      await page.goto(`${pageUrl}/${hash}`);
      await page.getByText('live', { exact: true }).waitFor();
      await act?.(page);
      // what is asked for when a view opens
      await page.waitForTimeout(600);
      await page.screenshot({ path: join(out, file) });
      await page.close();
    }
  } finally {
    await context.close();
  }
}
