import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { InstanceRow, LogRow } from '../api.ts';
import { Empty, Problem, useAsked, usePolling } from './bits.tsx';
import { act, getLog, redeploy, scale } from './client.ts';
import { count, duration, megabytes, plural, shortId, timeOfDay } from './format.ts';
import { useHold } from './hold.ts';
import { desk, now, useDesk } from './live.ts';
import { Log } from './log.tsx';
import { linkTo, type Route } from './route.ts';

/** Sessions of an instance that are named; of more the last ones. */
const MOST_SESSIONS = 4;
/** Lines of a log that are shown. */
const MOST_LINES = 5000;

/** Instances, what can be done to them, and what they print. */
export function Instances({ route }: { route: Route }): JSX.Element {
  const { instances, about } = useDesk();
  const { error, ask } = useAsked();
  const rows = [...instances.values()].reverse();
  const running = rows.filter(({ end }) => end === undefined);
  const most = about?.maxInstances ?? 0;
  const open = route.id === undefined ? undefined : instances.get(route.id);
  rows.sort((one, other) => Number(one.end !== undefined) - Number(other.end !== undefined));
  const { items, on } = useHold(rows);
  return (
    <div class="instances">
      <div class="toolbar">
        <button type="button" disabled={running.length >= most} onClick={() => ask(() => scale(running.length + 1))}>
          One more
        </button>
        <button type="button" disabled={running.length === 0} onClick={() => ask(() => scale(running.length - 1))}>
          One less
        </button>
        <button type="button" disabled={running.length === 0} onClick={() => ask(() => scale(0))}>
          Stop all
        </button>
        <button type="button" disabled={running.length === 0} onClick={() => ask(redeploy)}>
          Redeploy
        </button>
        <span class="note">{`${running.length} of at most ${most}`}</span>
      </div>
      <Problem text={error} />
      {rows.length === 0 ? (
        <Empty title="No instance is running." line={about?.curls[0]}>
          <p>The next call starts one; so does “One more”.</p>
        </Empty>
      ) : (
        <ul class="instance-list" {...on}>
          {items.map(row => (
            <li key={row.id}>
              <Instance row={instances.get(row.id) ?? row} isOpen={row.id === route.id} ask={ask} />
            </li>
          ))}
        </ul>
      )}
      {route.id === undefined ? undefined : <InstanceLog key={route.id} id={route.id} row={open} />}
    </div>
  );
}

function Instance({
  row,
  isOpen,
  ask,
}: {
  row: InstanceRow;
  isOpen: boolean;
  ask: (work: () => Promise<unknown>) => Promise<void>;
}): JSX.Element {
  const { id, phase, end, at, port, pid, inFlight, served, memory, peakMemory, cpuMs, startMs, healthy, lines } = row;
  const facts: [string, string][] = [
    ['started', timeOfDay(desk.startedAt + at)],
    ['start took', duration(startMs)],
    [end === undefined ? 'age' : 'lived', duration((end?.at ?? now()) - at)],
    ['in flight', count(inFlight)],
    ['served', count(served)],
    [
      'memory',
      end === undefined ? `${megabytes(memory)}, most ${megabytes(peakMemory)}` : `most ${megabytes(peakMemory)}`,
    ],
    ['CPU', cpuMs === 0 ? '–' : duration(cpuMs)],
    ['process', pid === 0 ? `port ${port}` : `${pid}, port ${port}`],
    ...(row.sessions === undefined ? [] : ([['sessions', sessionWords(row.sessions)]] as [string, string][])),
  ];
  const button = (action: 'freeze' | 'thaw' | 'crash' | 'stop', isOff: boolean): JSX.Element => (
    <button
      type="button"
      disabled={isOff}
      aria-label={`${action} ${shortId(id)}`}
      onClick={() => ask(() => act(id, action))}
    >
      {action}
    </button>
  );
  const isFrozen = phase === 'frozen';
  return (
    <article class={`instance ${end === undefined ? '' : 'is-ended'}`}>
      <h2>
        <i class={`swatch ${end === undefined ? phase : end.expected ? 'stopping' : 'crashed'}`} />
        {shortId(id)}
        <span class={end?.expected === false || !healthy ? 'bad' : 'state'}>
          {end === undefined
            ? `${phase}${healthy ? '' : ', unhealthy'}`
            : `${end.expected ? 'stopped' : 'crashed'} ${end.how}${end.reason === undefined ? '' : `: ${end.reason}`}`}
        </span>
      </h2>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <div class="actions">
        {end !== undefined ? undefined : (
          <>
            {isFrozen ? button('thaw', false) : button('freeze', false)}
            {button('crash', false)}
            {button('stop', phase === 'stopping')}
          </>
        )}
        <a class="button" href={linkTo('instances', isOpen ? undefined : id)} aria-expanded={isOpen}>
          {isOpen ? 'Hide its log' : `Log (${plural(lines, 'line')})`}
        </a>
      </div>
    </article>
  );
}

/** `2: 0a1b2c3d…, 4e5f6a7b…`: as of ids, of which all is a secret. */
function sessionWords(sessions: readonly string[]): string {
  if (sessions.length === 0) return 'none';
  const last = sessions.slice(-MOST_SESSIONS).reverse();
  const more = sessions.length > last.length ? ', …' : '';
  return `${count(sessions.length)}: ${last.map(id => `${id}…`).join(', ')}${more}`;
}

function InstanceLog({ id, row }: { id: string; row: InstanceRow | undefined }): JSX.Element {
  const [rows, setRows] = useState<readonly LogRow[]>([]);
  const [level, setLevel] = useState('all');
  const [text, setText] = useState('');
  const [skipped, setSkipped] = useState(0);
  const next = useRef(0);
  const isAsking = useRef(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const { error, ask } = useAsked();
  useEffect(() => heading.current?.focus(), []);
  usePolling(() => {
    // two answers at a time would have the same lines
    if (isAsking.current) return;
    isAsking.current = true;
    ask(async () => {
      const page = await getLog(id, next.current);
      next.current = page.next;
      if (page.skipped > 0) setSkipped(all => all + page.skipped);
      if (page.rows.length > 0) setRows(known => [...known, ...page.rows].slice(-MOST_LINES));
    }).finally(() => {
      isAsking.current = false;
    });
  }, 500);
  const shown = rows.filter(
    one =>
      (level === 'all' || one.level === level || (level === 'warn' && one.level === 'error')) &&
      one.text.toLowerCase().includes(text.toLowerCase()),
  );
  return (
    <section class="instance-log" aria-label={`Log of ${shortId(id)}`}>
      <h2 ref={heading} tabIndex={-1}>{`Log of ${shortId(id)}`}</h2>
      <div class="toolbar">
        <input
          type="search"
          aria-label="Text in the log"
          placeholder="text"
          value={text}
          onInput={event => setText(event.currentTarget.value)}
        />
        <select aria-label="Level" value={level} onChange={event => setLevel(event.currentTarget.value)}>
          <option value="all">all lines</option>
          <option value="warn">warnings and errors</option>
          <option value="error">errors</option>
        </select>
        <span class="note">{skipped > 0 ? `${plural(skipped, 'earlier line')} not kept` : ''}</span>
      </div>
      <Problem text={error} />
      <Log
        rows={shown}
        empty={row === undefined || rows.length > 0 ? 'No line passes this filter.' : 'It has printed nothing.'}
        withCalls
      />
    </section>
  );
}
