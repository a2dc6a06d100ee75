import type { JSX } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { CallRow } from '../api.ts';
import { Empty, Marks, Status } from './bits.tsx';
import { Call, remember, TABS, type Tab } from './call.tsx';
import { bytes, count, duration, plural, timeOfDay } from './format.ts';
import { useHold } from './hold.ts';
import { desk, useDesk } from './live.ts';
import { go, linkTo, type Route } from './route.ts';
import { EVERYTHING, type Filter, listed, nameOf } from './state.ts';

const STATUSES: readonly (readonly [Filter['status'], string])[] = [
  ['', 'any status'],
  ['2xx', '2xx'],
  ['3xx', '3xx'],
  ['4xx', '4xx'],
  ['5xx', '5xx'],
  ['failed', 'failed'],
  ['running', 'running'],
];
/** Whoever comes here by a key for the filter is to find himself in it. */
const wanted = { isFilter: false };

/** Goes to the filter, wherever one is. */
export function goToFilter(): void {
  const input = document.getElementById('filter');
  if (input !== null) {
    input.focus();
    return;
  }
  wanted.isFilter = true;
  go(linkTo('calls'));
}

/** Rows that are there besides those that are seen. */
const AROUND = 8;

/** The filter as the address has it. */
export function filterOf({ params }: Route): Filter {
  const status = params.get('status') ?? '';
  return {
    text: params.get('q') ?? EVERYTHING.text,
    function: params.get('function') ?? EVERYTHING.function,
    status: STATUSES.find(([value]) => value === status)?.[0] ?? EVERYTHING.status,
    isCold: params.get('cold') === '1',
    slowMs: Number(params.get('slow')) || 0,
  };
}

/** The filter as the address is to have it. */
const paramsOf = ({ text, function: name, status, isCold, slowMs }: Filter): Record<string, string> => ({
  q: text,
  function: name,
  status,
  cold: isCold ? '1' : '',
  slow: slowMs > 0 ? String(slowMs) : '',
});

/** The calls, newest first, and the one that is open. */
export function Calls({ route }: { route: Route }): JSX.Element {
  useDesk();
  const filter = filterOf(route);
  const rows = listed(desk, filter);
  if (desk.calls.size === 0) {
    return (
      <Empty title="No call has come yet." line={desk.about?.curls[0]}>
        <p>Each call is listed here, with what was sent and answered, and where its time went.</p>
      </Empty>
    );
  }
  return (
    <div class={`calls ${route.id === undefined ? '' : 'has-open'}`}>
      <div class="list">
        <Filters filter={filter} id={route.id} found={rows.length} />
        {rows.length === 0 ? (
          <Empty title="No call passes this filter.">
            <button type="button" onClick={() => go(linkTo('calls', route.id), false)}>
              Show all of them
            </button>
          </Empty>
        ) : (
          <Rows rows={rows} open={route.id} filter={filter} />
        )}
      </div>
      {route.id === undefined ? undefined : <OpenCall key={route.id} id={route.id} route={route} filter={filter} />}
    </div>
  );
}

/** The tab is in the address, too. */
function OpenCall({ id, route, filter }: { id: string; route: Route; filter: Filter }): JSX.Element {
  const tab = TABS.find(one => one === route.params.get('tab')) ?? 'timing';
  const choose = (next: Tab): void =>
    go(linkTo('calls', id, { ...paramsOf(filter), tab: next === 'timing' ? '' : next }), false);
  return <Call id={id} tab={tab} choose={choose} close={linkTo('calls', undefined, paramsOf(filter))} />;
}

function Filters({ filter, id, found }: { filter: Filter; id: string | undefined; found: number }): JSX.Element {
  const { calls, about } = useDesk();
  const set = (what: Partial<Filter>): void => go(linkTo('calls', id, paramsOf({ ...filter, ...what })), false);
  const input = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    if (wanted.isFilter) input.current?.focus();
    wanted.isFilter = false;
  }, []);
  const names = new Set([...(about?.functions ?? []), filter.function].filter(name => name !== ''));
  return (
    <search class="toolbar">
      <input
        type="search"
        id="filter"
        ref={input}
        aria-label="Text in path, function or id"
        placeholder="path, function or id"
        value={filter.text}
        onInput={event => set({ text: event.currentTarget.value })}
      />
      {names.size < 2 ? undefined : (
        <select
          aria-label="Function"
          value={filter.function}
          onChange={event => set({ function: event.currentTarget.value })}
        >
          <option value="">any function</option>
          {[...names].map(name => (
            <option key={name}>{name}</option>
          ))}
        </select>
      )}
      <select
        aria-label="Status"
        value={filter.status}
        onChange={event => set({ status: STATUSES[event.currentTarget.selectedIndex]?.[0] ?? '' })}
      >
        {STATUSES.map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
      <button type="button" aria-pressed={filter.isCold} onClick={() => set({ isCold: !filter.isCold })}>
        cold
      </button>
      <label class="slow">
        slower than
        <input
          type="number"
          min="0"
          step="50"
          placeholder="0"
          value={filter.slowMs === 0 ? '' : filter.slowMs}
          onInput={event => set({ slowMs: Math.max(0, Number(event.currentTarget.value) || 0) })}
        />
        ms
      </label>
      <span class="found">{`${count(found)} of ${plural(calls.size, 'call')}`}</span>
    </search>
  );
}

/** The rows that can be seen. Who reads further down, or points at one, is not moved by what comes. */
function Rows({
  rows: latest,
  open,
  filter,
}: {
  rows: readonly CallRow[];
  open: string | undefined;
  filter: Filter;
}): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const { items, on, release } = useHold(latest, JSON.stringify(filter));
  // they stay, but what is known of them goes on
  const rows = items.map(row => desk.calls.get(row.id) ?? row);
  const above = rows.length === 0 ? 0 : latest.findIndex(({ id }) => id === rows[0]?.id);
  const [seen, setSeen] = useState({ top: 0, height: 600, row: 36 });
  const [active, setActive] = useState('');
  const first = rows[0]?.id;
  const before = useRef(first);
  const measure = (): void => {
    const { scrollTop: top = 0, clientHeight: height = 600 } = box.current ?? {};
    const row = Number.parseFloat(getComputedStyle(box.current ?? document.body).getPropertyValue('--row')) || 36;
    setSeen(was => (was.top === top && was.height === height && was.row === row ? was : { top, height, row }));
  };
  useLayoutEffect(() => {
    measure();
    addEventListener('resize', measure);
    return () => removeEventListener('resize', measure);
  }, []);
  // what stands above has grown by what is new
  useLayoutEffect(() => {
    const { current } = box;
    const grown = before.current === first ? 0 : rows.findIndex(({ id }) => id === before.current);
    before.current = first;
    if (current === null || grown <= 0 || current.scrollTop === 0) return;
    current.scrollTop += grown * seen.row;
  }, [first]);

  const from = Math.max(0, Math.floor(seen.top / seen.row) - AROUND);
  const to = Math.min(rows.length, Math.ceil((seen.top + seen.height) / seen.row) + AROUND);
  const at = rows.findIndex(({ id }) => id === (active || open));

  function onKey(event: KeyboardEvent): void {
    const { key } = event;
    const steps: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: 10,
      PageUp: -10,
      Home: -rows.length,
      End: rows.length,
    };
    if (key === 'Enter' && active !== '') {
      go(linkTo('calls', active, paramsOf(filter)));
      return;
    }
    const by = steps[key];
    if (by === undefined) return;
    event.preventDefault();
    const next = Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + by));
    const id = rows[next]?.id ?? '';
    setActive(id);
    const { current } = box;
    if (current !== null) {
      const [top, bottom] = [next * seen.row, (next + 1) * seen.row];
      if (top < current.scrollTop) current.scrollTop = top;
      else if (bottom > current.scrollTop + current.clientHeight) current.scrollTop = bottom - current.clientHeight;
    }
    // with the panel beside it one goes through the calls
    if (open !== undefined) go(linkTo('calls', id, paramsOf(filter)), false);
  }

  const isDown = seen.top > seen.row;
  return (
    <div class="held" role="presentation" {...on}>
      {isDown || above !== 0 ? (
        <button
          type="button"
          class="to-top"
          onClick={() => {
            release();
            box.current?.scrollTo({ top: 0 });
          }}
        >
          {above > 0 ? `Newest (${count(above)} more)` : 'Newest'}
        </button>
      ) : undefined}
      <div
        class="rows"
        ref={box}
        role="listbox"
        tabIndex={0}
        aria-label="Calls, newest first"
        aria-activedescendant={active === '' ? undefined : `row-${active}`}
        onScroll={measure}
        onKeyDown={onKey}
      >
        <div style={{ height: `${from * seen.row}px` }} role="presentation" />
        {rows.slice(from, to).map(row => (
          <Row
            key={row.id}
            row={row}
            isOpen={row.id === open}
            isActive={row.id === active}
            link={linkTo('calls', row.id, paramsOf(filter))}
          />
        ))}
        <div style={{ height: `${(rows.length - to) * seen.row}px` }} role="presentation" />
      </div>
    </div>
  );
}

function Row({
  row,
  isOpen,
  isActive,
  link,
}: {
  row: CallRow;
  isOpen: boolean;
  isActive: boolean;
  link: string;
}): JSX.Element {
  const { at, totalMs, queuedMs = 0, isDone, message, bytesOut, function: name = '' } = row;
  const waited = queuedMs >= 10 ? `${duration(queuedMs)} ${row.isCold ? 'start' : 'queued'}` : '';
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the list takes the keys
    // biome-ignore lint/a11y/useFocusableInteractive: the list has the focus, and names its active row
    <div
      class={`row ${isOpen ? 'is-open' : ''} ${isActive ? 'is-active' : ''}`}
      id={`row-${row.id}`}
      role="option"
      aria-selected={isOpen}
      onClick={() => {
        remember(row);
        go(link);
      }}
    >
      <Status row={row} />
      <span class="name" title={nameOf(row)}>
        {nameOf(row)}
      </span>
      <span class="marks">
        <Marks row={row} />
      </span>
      <span class="function">{message ?? name}</span>
      <span class="waited">{waited}</span>
      <span class="total">{isDone ? duration(totalMs) : 'running'}</span>
      <span class="size">{bytes(bytesOut)}</span>
      <time>{timeOfDay(desk.startedAt + at)}</time>
    </div>
  );
}
