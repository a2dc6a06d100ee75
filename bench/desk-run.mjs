// `noslate-fc dev` with the examples and a browser, for pictures and figures.
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

/**
 * Starts it in a copy of the examples. Its events are read and dropped, as by a terminal.
 *
 * @param prepare - is given the copy's folder.
 */
export async function startDesk(args = [], prepare = () => {}) {
  const folder = mkdtempSync(join(tmpdir(), 'noslate-fc-desk-'));
  cpSync('examples', folder, { recursive: true });
  prepare(folder);
  const command = [resolve('dist/server.js'), 'dev', folder, '--listen', '0', '--console', '0', ...args];
  const child = spawn(process.execPath, command, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise(done => child.on('close', done));
  const { url, console: page } = await listening(child);
  return {
    child,
    url,
    page,
    async stop() {
      child.kill('SIGINT');
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}

async function listening(child) {
  for await (const line of createInterface(child.stdout)) {
    const event = JSON.parse(line);
    if (event.event !== 'listening') continue;
    child.stdout.resume();
    return event;
  }
  throw new Error('noslate-fc dev has ended');
}

/** Debian's chromium, or the one that CHROMIUM names. */
export const launchBrowser = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync', '--no-first-run'],
  });
