import { execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import type { Result } from 'autocannon';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import * as assert from 'uvu/assert';
import {
  endWithUs,
  eventually,
  NOT_LINUX,
  observe,
  SERVER_FILE,
  suite,
  temporary,
  within,
  without,
  write,
} from '../../../../helpers.ts';

const major = Number(process.versions.node.split('.')[0]);
const skip =
  NOT_LINUX ?? (major < 20 ? 'the browser is driven by what needs Node.js 20' : without('chromium', 'chromium'));
const page = suite('console in a browser', { skip, ms: 180_000 });

const SECRET = 'canary-of-a-cookie';
const XSS = '<img src=x onerror="window.broken=1">';

const FUNCTIONS: Readonly<Record<string, string>> = {
  hello: `exports.handler = async (_ctx, req, res) => {
  console.log('hello is called');
  res.writeHead(200, { 'content-type': 'application/json' });
  res.end(JSON.stringify({ hello: req.url }));
};`,
  fail: `function inner() { throw new Error('thrown on purpose'); }
exports.handler = async () => { inner(); };`,
  slow: `exports.handler = async (_ctx, _req, res) => {
  await new Promise(done => setTimeout(done, 400));
  res.writeHead(200, { 'content-disposition': 'attachment; filename=slow.txt' });
  res.end('slow');
};`,
  markup: `exports.handler = async (_ctx, _req, res) => {
  console.log(${JSON.stringify(XSS)});
  res.writeHead(200, { 'content-type': 'text/html', 'x-markup': ${JSON.stringify(XSS)} });
  res.end(${JSON.stringify(XSS)});
};`,
  event: `exports.handler = async (_ctx, req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  res.writeHead(200);
  res.end('got ' + Buffer.concat(chunks));
};`,
};

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
      memorySize: 512
      timeout: 5
      instanceConcurrency: 20
      instanceLifecycleConfig:
        initializer: { handler: 'true', timeout: 10 }
      triggers:
        - { triggerName: every-morning, triggerType: timer, triggerConfig: { cronExpression: '0 30 8 * * *', enable: true, payload: wake up } }
`;

const VIEWS = ['Now', 'Calls', 'Send', 'Instances', 'Costs', 'Contract'];
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 844 };

/** The command, as it runs. */
interface Desk {
  readonly url: string;
  readonly console: string;
  say(word: string): void;
  stop(): Promise<unknown>;
}

/** What all tests share: the command, a browser, and the page that each of them opens anew. */
interface Shared extends Desk {
  readonly browser: Browser;
}

let shared: Promise<Shared> | undefined;

async function startDesk(...more: string[]): Promise<Desk> {
  const folder = temporary();
  for (const [name, code] of Object.entries(FUNCTIONS)) write(join(folder, name, 'index.js'), code);
  const functions = Object.keys(FUNCTIONS).map(name => ({
    name,
    runtime: 'nodejs',
    url: `./${name}`,
    handler: 'index.handler',
    signature: '1',
  }));
  const routes = [
    { event: true, function: 'event' },
    ...functions.map(({ name }) => ({ path: `/${name}`, function: name })),
  ];
  write(join(folder, 'noslate.json'), JSON.stringify({ functions, routes }));
  write(join(folder, 's.yaml'), DEPLOYMENT);
  const args = [SERVER_FILE, 'dev', folder, '--listen', '127.0.0.1:0', '--console', '0', ...more];
  const child = endWithUs(spawn(process.execPath, args, { stdio: 'pipe' }));
  const { line, exit } = observe(child);
  const listening = await line('listening', ({ event }) => event === 'listening');
  return {
    url: String(listening['url']),
    console: String(listening['console']),
    say: word => child.stdin?.write(`${word}\n`),
    stop() {
      child.kill('SIGINT');
      return within(20_000, exit, 'the end of the command');
    },
  };
}

async function start(): Promise<Shared> {
  const desk = await startDesk();
  const { chromium } = await import('playwright-core');
  const browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync', '--no-first-run'],
  });
  return { ...desk, browser };
}

/** Runs a test's body with a page that is at a view, and throws what has gone wrong in it. */
async function withPage(
  hash: string,
  body: (page: Page, desk: Shared, context: BrowserContext) => Promise<void>,
  options: Parameters<Browser['newContext']>[0] = {},
): Promise<void> {
  shared ??= start();
  const desk = await within(30_000, shared, 'the command and the browser');
  const context = await desk.browser.newContext({ viewport: WIDE, ...options });
  context.setDefaultTimeout(10_000);
  try {
    const opened = await context.newPage();
    const errors: string[] = [];
    opened.on('pageerror', error => errors.push(String(error.stack)));
    opened.on('console', message => {
      // what the desk refuses is told on the page
      const isRefusal = /status of 4\d\d/.test(message.text());
      if (message.type() === 'error' && !isRefusal) errors.push(message.text());
    });
    await opened.goto(`${desk.console}/${hash}`);
    await opened.getByText('live', { exact: true }).waitFor();
    await body(opened, desk, context);
    assert.equal(errors, [], 'errors of the page');
  } finally {
    await context.close();
  }
}

/** What curl gets, and how long it took, ms. */
async function curl(...args: string[]): Promise<{ text: string; ms: number }> {
  const output = await within(
    20_000,
    new Promise<string>((done, fail) => {
      execFile('curl', ['-sS', '-w', '\n%{time_total}', ...args], (error, stdout) =>
        error ? fail(error) : done(stdout),
      );
    }),
    `curl ${args.join(' ')}`,
  );
  const at = output.lastIndexOf('\n');
  return { text: output.slice(0, at), ms: Number(output.slice(at + 1)) * 1000 };
}

/** Stops all instances, so that the next call finds none. */
async function noInstance(opened: Page, { say }: Shared): Promise<void> {
  say('stop');
  await eventually('no instance to run', async () =>
    /^0 instances/.test((await opened.locator('.sub').textContent()) ?? ''),
  );
}

/** Of a duration as the page writes it, ms. */
function ms(text: string): number {
  const [, value = '', unit = ''] = /^([\d.]+) (ms|s)$/.exec(text.trim()) ?? [];
  return Number(value) * (unit === 's' ? 1000 : 1);
}

/** What a duration's three digits leave out at most, and a little more, ms. */
const roundingOf = (ms: number): number => (ms < 1000 ? 0.6 : ms < 10_000 ? 6 : 60);

page('should show a cold start, a freeze and a thaw, and add up to what curl measured', async () => {
  await withPage('#/now', async (opened, desk) => {
    await noInstance(opened, desk);
    const { text, ms: measured } = await curl(`${desk.url}/hello`);
    assert.is(text, '{"hello":"/hello"}');
    const sentence = opened.locator('.last-call p');
    await sentence.filter({ hasText: /GET \/hello → 200 in .*starting an instance.*\(a cold start\)\./ }).waitFor();
    await opened.locator('.sub', { hasText: '1 instance, 1 frozen' }).waitFor();
    await opened.locator('.last-call a').click();
    const rows = opened.locator('.waterfall tr');
    await rows.filter({ hasText: 'instance start' }).waitFor();
    const parts = await rows.evaluateAll((all: { children: Iterable<{ textContent: string }> }[]) =>
      all.map(row => Array.from(row.children, cell => cell.textContent)),
    );
    assert.equal(
      parts.map(([name]) => name).filter(name => !/queued|thaw/.test(name ?? '')),
      ['instance start', 'initializer', 'gateway', 'function', 'body', 'as the caller waited'],
    );
    const values = parts.map(cells => ms(cells[cells.length - 1] ?? ''));
    const total = values.pop() ?? 0;
    const sum = values.reduce((all, value) => all + value, 0);
    const rounded = [...values, total].reduce((all, value) => all + roundingOf(value), 0);
    assert.ok(Math.abs(sum - total) <= rounded, `${sum} is ${total}`);
    // curl has the connection on top; whoever of the two is told first of the end is the machine's choice
    assert.ok(total <= measured * 1.1 + 5 && total > measured * 0.5, `${total} of ${measured}`);

    await curl(`${desk.url}/hello`);
    await opened.goto(`${desk.console}/#/calls`);
    await opened.locator('.row').first().getByText('thawed').waitFor();
  });
});

page('should show what was sent and answered, without secrets', async () => {
  await withPage('#/calls', async (opened, desk) => {
    await curl('-H', `Cookie: ${SECRET}`, '-H', 'x-own: shown', '-d', '{"a":[1,2]}', `${desk.url}/event?shown`);
    await opened.locator('.row', { hasText: 'POST /event?shown' }).click();
    await opened.getByRole('tab', { name: 'request' }).click();
    await opened.getByText('As the client sent it').waitFor();
    const panel = opened.getByRole('tabpanel');
    assert.match(await panel.innerText(), /x-own\s+shown/i);
    assert.match(await panel.innerText(), /cookie\s+\*\*\*/i);
    assert.match(await panel.innerText(), /"a": \[\n\s+1,/);
    await panel.getByRole('button', { name: 'Hex' }).click();
    assert.match(await panel.innerText(), /000000 {2}7b 22 61 22/);
    await opened.getByRole('tab', { name: 'response' }).click();
    assert.match(await panel.innerText(), /200 OK/);
    assert.match(await panel.innerText(), /got \{"a":\[1,2\]\}/);
    assert.not((await opened.content()).includes(SECRET));
    // the tab is in the address
    await opened.reload();
    await opened.getByRole('tab', { name: 'response', selected: true }).waitFor();
  });
});

page('should say on the first look why a call failed', async () => {
  await withPage('#/calls', async (opened, desk) => {
    await curl(`${desk.url}/fail`);
    const row = opened.locator('.row', { hasText: 'GET /fail' }).first();
    await row.getByText(/thrown on purpose|failed before it answered/).waitFor();
    await row.click();
    const failure = opened.locator('.failure');
    await failure.getByText('FUNCTION_FAILED').waitFor();
    const text = await failure.innerText();
    assert.match(text, /Error: thrown on purpose/);
    assert.match(text, /at inner \(.*fail\/index\.js:1:\d+\)\n\s*at exports\.handler \(.*fail\/index\.js:2:\d+\)$/);
  });
});

page('should make a call again, as it was and edited', async () => {
  await withPage(
    '#/calls',
    async (opened, desk, context) => {
      await curl('-H', `Cookie: ${SECRET}`, '-d', 'first', `${desk.url}/event?again`);
      const rows = opened.locator('.row', { hasText: 'POST /event?again' });
      await rows.click();
      await opened.locator('.facts').waitFor();
      const before = opened.url();
      await opened.getByRole('button', { name: 'Replay', exact: true }).click();
      await eventually('the new call', async () => opened.url() !== before && (await rows.count()) === 2);
      await opened.getByRole('tab', { name: 'response' }).click();
      await opened.getByText('got first').waitFor();

      await opened.getByRole('link', { name: 'Edit and replay' }).click();
      const headers = opened.getByLabel('Headers, one a line');
      await eventually('the call to be taken over', async () => /cookie: \*\*\*/i.test(await headers.inputValue()));
      assert.is(await opened.getByLabel('Body').inputValue(), 'first');
      await opened.getByLabel('Body').fill('second');
      await headers.fill(`${await headers.inputValue()}\nx-new: 1`);
      await opened.getByRole('button', { name: 'Send', exact: true }).click();
      await opened.getByRole('tab', { name: 'response' }).click();
      await opened.getByText('got second').waitFor();
      await opened.getByRole('tab', { name: 'request' }).click();
      assert.match(await opened.getByRole('tabpanel').innerText(), /x-new\s+1/);

      await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: desk.console });
      await opened.getByRole('button', { name: 'Copy as curl' }).click();
      await opened.getByText('Copied').waitFor();
      const line = String(await opened.evaluate('navigator.clipboard.readText()'));
      assert.match(line, /^curl .*-H 'Cookie: \*\*\*'.* --data-raw second$/i);
      const { text } = await within(
        20_000,
        new Promise<{ text: string }>((done, fail) =>
          execFile('/bin/sh', ['-c', `${line} -sS`], (error, stdout) => (error ? fail(error) : done({ text: stdout }))),
        ),
        line,
      );
      assert.is(text, 'got second');
    },
    {},
  );
});

page('should send requests, events of triggers, and timers', async () => {
  await withPage('#/send', async (opened, desk) => {
    await opened.getByLabel('Path').fill('/hello?by=page');
    await opened.getByRole('button', { name: 'Send', exact: true }).click();
    const result = opened.locator('.result');
    await result.getByText('GET /hello?by=page').first().waitFor();
    await opened.getByLabel('Path').fill('no path');
    await opened.getByRole('button', { name: 'Send', exact: true }).click();
    await opened.getByText('path: expected a path that starts with "/"').waitFor();

    await opened.getByRole('button', { name: 'Event', exact: true }).click();
    await opened.getByLabel('Event of a trigger').selectOption('oss');
    assert.match(await opened.getByLabel('Body').inputValue(), /"acs:oss"/);
    await opened.getByLabel('Body').fill('{');
    await opened.getByText(/Not JSON \(it is sent all the same\)/).waitFor();
    await opened.getByLabel('Body').fill('{"own":1}');
    await opened.getByRole('button', { name: 'Send', exact: true }).click();
    await result.getByRole('tab', { name: 'response' }).click();
    await result.getByText('got {"own":1}').waitFor();

    await opened.getByLabel('As if at').fill('2026-01-15T08:30:00');
    await opened.getByRole('button', { name: 'Run as if at' }).click();
    await result.getByText('async').waitFor();
    await result.getByRole('tab', { name: 'request' }).click();
    await result.getByText('"triggerName": "every-morning"').waitFor();
    const body = await result.locator('.content').innerText();
    const event = JSON.parse(body);
    assert.is(event.triggerTime, new Date('2026-01-15T08:30:00').toISOString().replace('.000Z', 'Z'));
    assert.is(event.payload, 'wake up');
    assert.is(await opened.locator('.sent li').count(), 2);
    assert.ok(desk.url);
  });
});

page('should filter the calls, and keep the filter in the address', async () => {
  await withPage('#/calls', async (opened, desk) => {
    await curl(`${desk.url}/slow`);
    await curl(`${desk.url}/hello?filter=me`);
    await curl(`${desk.url}/nowhere`);
    const rows = opened.locator('.row');
    const shown = async (): Promise<string[]> => rows.locator('.name').allInnerTexts();
    await opened.getByLabel('Text in path').fill('filter=ME');
    await eventually('one row', async () => (await shown()).join() === 'GET /hello?filter=me');
    await opened.reload();
    await eventually('one row after a reload', async () => (await shown()).join() === 'GET /hello?filter=me');
    await opened.getByLabel('Text in path').fill('');
    await opened.getByLabel('Status').selectOption('4xx');
    await eventually('those refused', async () => (await shown()).every(name => name === 'GET /nowhere'));
    await opened.getByLabel('Status').selectOption('');
    await opened.getByLabel('Function', { exact: true }).selectOption('slow');
    await eventually('those of a function', async () => (await shown()).every(name => name === 'GET /slow'));
    await opened.getByLabel('Function', { exact: true }).selectOption('');
    await opened.getByLabel(/slower than/).fill('390');
    await eventually('slow ones', async () => {
      const names = await shown();
      return names.includes('GET /slow') && !names.includes('GET /hello?filter=me');
    });
    await opened.getByLabel(/slower than/).fill('');
    await opened.getByRole('button', { name: 'cold' }).click();
    await eventually(
      'cold ones',
      async () =>
        (await rows.count()) > 0 && (await rows.count()) === (await rows.getByText('cold', { exact: true }).count()),
    );
    await opened.getByLabel('Text in path').fill('nothing has this');
    await opened.getByText('No call passes this filter.').waitFor();
    await opened.getByRole('button', { name: 'Show all of them' }).click();
    await eventually('all of them', async () => (await shown()).includes('GET /hello?filter=me'));
  });
});

/** Calls that are made. */
interface Load {
  readonly result: Promise<Result>;
  /** Resolves when so many are answered. */
  answered(count: number): Promise<void>;
  /** Leaves out those that are still to come. */
  end(): Promise<void>;
}

/** Makes calls, twenty at a time. */
async function load(url: string, amount: number): Promise<Load> {
  const { default: autocannon } = await import('autocannon');
  const instance = autocannon({ url, connections: 20, amount });
  const result = Promise.resolve(instance);
  let count = 0;
  let tell = (): void => {};
  instance.on('response', () => {
    count += 1;
    tell();
  });
  return {
    result,
    answered: wanted =>
      new Promise(done => {
        tell = () => {
          if (count >= wanted) done();
        };
        tell();
      }),
    async end() {
      instance.stop();
      await result;
    },
  };
}

/** How many calls the page says that it knows. */
const known = async (opened: Page): Promise<number> =>
  Number(/of ([\d\s]+) call/.exec(await opened.locator('.found').innerText())?.[1]?.replace(/\s/g, ''));

page('should open the call that was pressed, whatever comes before the button is let go', async () => {
  await withPage('#/calls', async (opened, desk) => {
    await curl(`${desk.url}/hello?pressed`);
    const row = opened.locator('.row', { hasText: '?pressed' });
    const box = await row.boundingBox();
    assert.ok(box !== null);
    await opened.mouse.move(box.x + 80, box.y + box.height / 2);
    await opened.mouse.down();
    const before = await known(opened);
    const { result } = await load(`${desk.url}/hello?later`, 100);
    await result;
    await eventually('those to be known', async () => (await known(opened)) >= before + 100);
    await opened.getByRole('button', { name: /^Newest \(1\d\d more\)$/ }).waitFor();
    await opened.mouse.up();
    await opened.locator('.open-call h2', { hasText: '?pressed' }).waitFor();
    await opened.getByRole('link', { name: 'Close' }).hover();
    await opened.locator('.row').first().getByText('?later').waitFor();
  });
});

page('should show what it knows of a call that the desk has let go', async () => {
  await withPage('#/calls', async (opened, desk) => {
    await curl(`${desk.url}/hello?gone`);
    const error = 'it is not kept any more';
    await opened.route('**/api/calls/*', route => route.fulfill({ status: 404, json: { error } }));
    await opened.locator('.row', { hasText: '?gone' }).click();
    await opened.locator('.open-call h2', { hasText: '?gone' }).waitFor();
    await opened.locator('.open-call .facts', { hasText: 'hello' }).waitFor();
    await opened.locator('.open-call').getByRole('alert').getByText(error).waitFor();
  });
});

page('should bear ten thousand calls, and keep the last after a reload', async () => {
  await withPage('#/calls', async (opened, desk) => {
    const { result, answered, end } = await load(`${desk.url}/hello`, 10_000);
    try {
      // how fast they come is the machine's affair; that they are shown is the page's
      await within(60_000, answered(1000), 'a thousand calls');
      await opened.getByText(/of 1\s?000 calls/).waitFor();
      // it is used while they come
      await opened.locator('.row').first().click();
      await opened.locator('.open-call .facts').waitFor();
      await opened.getByRole('link', { name: 'Now' }).click();
      await opened.locator('.drawing canvas').waitFor();
      const { requests, non2xx, errors } = await within(100_000, result, 'ten thousand calls');
      assert.equal([requests.sent >= 10_000, non2xx, errors], [true, 0, 0]);
    } finally {
      // what is left of them would be in the way of the next test
      await end();
    }
    await opened.getByRole('link', { name: 'Costs' }).click();
    await opened
      .getByText(/^1\d\s?\d{3}$/)
      .first()
      .waitFor();
    await opened.getByRole('link', { name: 'Calls' }).click();
    await opened.reload();
    await opened.getByText(/1\s?000 of 1\s?000 calls/).waitFor();
    assert.ok((await opened.locator('.row').count()) < 60, 'only the rows that are seen are there');
    await opened.locator('.row').first().hover();
    await opened.mouse.wheel(0, 500 * 34);
    await opened.getByRole('button', { name: 'Newest' }).waitFor();
    const name = opened.locator('.row').nth(10);
    const id = await name.getAttribute('id');
    await curl(`${desk.url}/slow`);
    await opened.locator('.found', { hasText: /1\s?000 of/ }).waitFor();
    assert.ok(await opened.locator(`[id="${id}"]`).isVisible(), 'what one reads has stayed');
  });
});

page('should do to instances what its buttons say, and show their lines', async () => {
  await withPage('#/instances', async (opened, desk) => {
    await curl(`${desk.url}/hello`);
    const first = opened.locator('.instance').first();
    await first.getByText('frozen').waitFor();
    await first.getByRole('button', { name: /^thaw/ }).click();
    await first.getByText('ready', { exact: true }).waitFor();
    await first.getByRole('button', { name: /^freeze/ }).click();
    await first.getByText('frozen', { exact: true }).waitFor();
    await first.getByRole('link', { name: /^Log/ }).click();
    const log = opened.locator('.instance-log');
    await log.getByText('hello is called').first().waitFor();
    await log.getByLabel('Text in the log').fill('is CALLED');
    await eventually('the lines that match', async () => {
      const lines = await log.locator('.log .text').allTextContents();
      return lines.length > 0 && lines.every(text => text === 'hello is called');
    });
    await first.getByRole('button', { name: /^crash/ }).click();
    await opened.getByText('crashed by SIGKILL').first().waitFor();
    await opened.getByRole('button', { name: 'One more' }).click();
    await opened.locator('.instance').first().getByText('frozen', { exact: true }).waitFor();
    await opened.getByRole('button', { name: 'Redeploy' }).click();
    await opened.getByText('stopped with code 0: code changed').first().waitFor();
    await opened.getByRole('link', { name: /^Contract/ }).click();
    await opened.getByText('The process ended by itself').waitFor();
  });
});

page('should show which sessions an instance has', async () => {
  await withPage('#/instances', async (opened, shop) => {
    await curl(`${shop.url}/hello`);
    await opened.locator('.instance').first().waitFor();
    assert.is(await opened.getByText('sessions', { exact: true }).count(), 0, 'a function without has none');
    const desk = await within(30_000, startDesk('--session-affinity', 'my-session'), 'another command');
    try {
      await opened.goto(`${desk.console}/#/instances`);
      const fact = opened.locator('.instance .facts div', { hasText: /^sessions/ });
      await fact.getByText('none').waitFor();
      for (const id of ['one-is-long-enough', 'two-is-long-enough']) {
        await curl('-H', `my-session: ${id}`, `${desk.url}/hello`);
      }
      await fact.getByText('2: two-is-l…, one-is-l…').waitFor();
      assert.not((await opened.content()).includes('long-enough'), 'who has all of an id has the session');
      // it would say that it has lost the desk
      await opened.goto('about:blank');
    } finally {
      await desk.stop();
    }
  });
});

page('should tell what FC will not like, in its own words', async () => {
  await withPage('#/contract', async (opened, desk) => {
    await curl(`${desk.url}/slow`);
    const finding = opened.locator('.finding', { hasText: 'A response header is lost' }).first();
    await finding.getByText('GET /slow: content-disposition').waitFor();
    assert.match(await finding.innerText(), /Reserved in responses/);
    await finding.getByRole('link', { name: 'the call' }).click();
    await opened.locator('.open-call h2', { hasText: 'GET /slow' }).waitFor();
  });
});

page('should show markup for what it is', async () => {
  await withPage('#/calls', async (opened, desk) => {
    await curl(`${desk.url}/markup?${encodeURIComponent(XSS)}`, '-H', `x-sent: ${XSS}`);
    await opened.locator('.row', { hasText: 'GET /markup' }).first().click();
    for (const tab of ['request', 'response', 'log']) {
      await opened.getByRole('tab', { name: tab }).click();
      await opened
        .getByRole('tabpanel')
        .getByText(/onerror/)
        .first()
        .waitFor();
    }
    assert.is(await opened.evaluate('window.broken'), undefined);
    assert.is(await opened.evaluate('document.images.length'), 0);
  });
});

page('should be used by keys alone', async () => {
  await withPage('#/now', async (opened, desk) => {
    await curl(`${desk.url}/hello?by=keys`);
    const keys = opened.keyboard;
    await keys.press('/');
    await eventually(
      'the filter to have the focus',
      async () => (await opened.evaluate('document.activeElement.id')) === 'filter',
    );
    await keys.type('by=keys');
    await eventually('one row', async () => (await opened.locator('.row').count()) === 1);
    await opened.getByRole('listbox').focus();
    await keys.press('ArrowDown');
    await keys.press('Enter');
    await opened.locator('.open-call h2', { hasText: 'by=keys' }).waitFor();
    await eventually(
      'the call to have the focus',
      async () => (await opened.evaluate('document.activeElement.tagName')) === 'H2',
    );
    await keys.press('Escape');
    await eventually('it to be closed', async () => (await opened.locator('.open-call').count()) === 0);
    await keys.press('1');
    await opened.getByRole('heading', { name: 'Now', level: 1 }).waitFor();
    await opened.getByRole('group', { name: /^Drawing/ }).focus();
    await keys.press('ArrowLeft');
    await opened.locator('.chosen', { hasText: /GET .*Enter opens it/ }).waitFor();
    await keys.press('+');
    await keys.press('Shift+ArrowLeft');
    await opened.getByRole('button', { name: 'Back to now' }).waitFor();
    await keys.press('Enter');
    await opened.locator('.open-call').waitFor();
    await keys.press('?');
    await opened.getByRole('dialog').getByRole('heading', { name: 'Keys' }).waitFor();
    await keys.press('Escape');
    for (const [i, view] of VIEWS.entries()) {
      await keys.press(String(i + 1));
      await opened.getByRole('heading', { name: view, level: 1 }).waitFor();
    }
    await opened.reload();
    await opened.getByText('live', { exact: true }).waitFor();
    await keys.press('Tab');
    assert.is(await opened.evaluate('document.activeElement.textContent'), 'Skip to the content');
  });
});

page('should lead from a bar to its call', async () => {
  await withPage('#/now', async (opened, desk) => {
    await curl(`${desk.url}/slow?bar`);
    await opened.locator('.last-call', { hasText: '/slow?bar' }).waitFor();
    const box = await opened.locator('.drawing canvas').boundingBox();
    assert.ok(box !== null);
    await opened.getByRole('button', { name: 'Pause' }).click();
    // it has just ended, near the right edge, in the lane on top
    const y = box.y + 20 + 18;
    let found = false;
    for (let x = box.x + box.width - 4; x > box.x && !found; x -= 4) {
      await opened.mouse.move(x, y);
      found = (await opened.locator('.tip', { hasText: '/slow?bar' }).count()) > 0;
      if (!found) continue;
      await opened.mouse.down();
      await opened.mouse.up();
    }
    assert.ok(found, 'its bar is under the pointer somewhere');
    await opened.locator('.open-call h2', { hasText: 'GET /slow?bar' }).waitFor();
  });
});

page('should be light or dark as the system is, or as one likes', async () => {
  const [LIGHT, DARK] = ['rgb(247, 247, 245)', 'rgb(20, 21, 24)'];
  // a page is drawn anew in its own time
  const shows = (opened: Page, colour: string): Promise<void> =>
    eventually(
      `${colour} behind it`,
      async () => (await opened.evaluate('getComputedStyle(document.body).backgroundColor')) === colour,
    );
  await withPage('#/now', async opened => {
    await shows(opened, LIGHT);
    await opened.emulateMedia({ colorScheme: 'dark' });
    await shows(opened, DARK);
    await opened.getByRole('button', { name: 'Colours: auto' }).click();
    await shows(opened, LIGHT);
    await opened.getByRole('button', { name: 'Colours: light' }).click();
    await opened.emulateMedia({ colorScheme: 'light' });
    await shows(opened, DARK);
    await opened.reload();
    await opened.getByRole('button', { name: 'Colours: dark' }).waitFor();
    await shows(opened, DARK);
  });
});

/** Violations of accessibility, by axe-core; its own script is no part of the page. */
async function violations(opened: Page): Promise<string[]> {
  const axe = readFileSync(createRequire(resolve('package.json')).resolve('axe-core/axe.min.js'), 'utf8');
  await opened.evaluate(axe);
  const found = (await opened.evaluate('axe.run().then(({ violations }) => violations)')) as {
    id: string;
    nodes: { html: string; failureSummary: string }[];
  }[];
  return found.flatMap(({ id, nodes }) => nodes.map(node => `${id}: ${node.html}: ${node.failureSummary}`));
}

for (const colorScheme of ['light', 'dark'] as const) {
  for (const viewport of [WIDE, NARROW]) {
    page(`should be for everybody, ${colorScheme}, at ${viewport.width} px`, async () => {
      const options = { colorScheme, viewport, bypassCSP: true };
      await withPage(
        '#/now',
        async (opened, desk) => {
          await curl(`${desk.url}/hello`);
          await curl(`${desk.url}/fail`);
          const id = await openFirst(opened, desk);
          const places = [
            ...VIEWS.map(view => `#/${view.toLowerCase()}`),
            `#/calls/${id}`,
            `#/calls/${id}?tab=request`,
            `#/calls/${id}?tab=log`,
            `#/send?from=${id}`,
          ];
          for (const place of places) {
            await opened.goto(`${desk.console}/${place}`);
            await opened.getByRole('heading', { level: 1 }).waitFor();
            // what a view asks for has come, or it says that it waits
            await opened.waitForLoadState('networkidle').catch(() => {});
            assert.equal(await violations(opened), [], place);
            const width = Number(await opened.evaluate('document.scrollingElement.scrollWidth'));
            assert.ok(width <= viewport.width, `${place} is ${width} px wide`);
          }
        },
        options,
      );
    });
  }
}

/** The id of the newest call. */
async function openFirst(opened: Page, desk: Shared): Promise<string> {
  await opened.goto(`${desk.console}/#/calls`);
  await opened.locator('.row').first().click();
  await opened.locator('.open-call .facts').waitFor();
  return decodeURIComponent(/#\/calls\/([^?]+)/.exec(opened.url())?.[1] ?? '');
}

page('should not be driven by another page, nor shown in it', async () => {
  await withPage('#/calls', async (_, desk, context) => {
    const script = `
      const said = [];
      const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"kind":"event"}' };
      const text = { method: 'POST', mode: 'no-cors', body: '{"kind":"event"}' };
      for (const options of [json, text]) {
        await fetch('${desk.console}/api/send', options).then(
          response => said.push(response.type === 'opaque' ? 'opaque' : response.status), () => said.push('refused'));
      }
      await new Promise(done => {
        const source = new EventSource('${desk.console}/api/events');
        source.addEventListener('snapshot', () => { said.push('snapshot'); done(); });
        source.onerror = () => { said.push('no events'); source.close(); done(); };
      });
      document.title = said.join();`;
    const html = `<!doctype html><iframe src="${desk.console}/"></iframe><script type="module">${script}</script>`;
    const foreign = createServer((_req, res) => res.setHeader('content-type', 'text/html').end(html));
    await new Promise<void>(done => foreign.listen(0, '127.0.0.1', done));
    try {
      const before = JSON.parse((await curl(`${desk.console}/api/costs`)).text).calls;
      const other = await context.newPage();
      await other.goto(`http://127.0.0.1:${(foreign.address() as AddressInfo).port}/`);
      await eventually('its attempts', async () => (await other.title()) !== '');
      assert.is(await other.title(), 'refused,refused,no events');
      const frame = other.frames().find(one => one !== other.mainFrame());
      assert.not((await frame?.content())?.includes('Skip to the content'), 'the page is in no frame');
      assert.is(JSON.parse((await curl(`${desk.console}/api/costs`)).text).calls, before);
    } finally {
      foreign.close();
    }
  });
});

page('should say what to do when the desk has ended, and go on with the next', async () => {
  // the last test: without the command there is no other
  await withPage('#/now', async (opened, desk) => {
    opened.removeAllListeners('console');
    await desk.stop();
    await opened.getByText('The desk does not answer.').waitFor();
    await opened.getByText('lost', { exact: true }).waitFor();
    await desk.browser.close();
  }).catch(error => {
    // the page is gone with the browser
    if (!/closed/.test(String(error))) throw error;
  });
});

page.run();
