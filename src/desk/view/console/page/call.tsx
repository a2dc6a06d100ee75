import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { CallDetail, CallRecordView, CallRow, HeadView, Part } from '../api.ts';
import { Copy, Marks, Problem, Status, useAsked } from './bits.tsx';
import { Body } from './body.tsx';
import { getCall, replay } from './client.ts';
import { FindingCard } from './contract.tsx';
import { bytes, duration, megabytes, shortId, timeOfDay } from './format.ts';
import { desk, useDesk } from './live.ts';
import { Log } from './log.tsx';
import { reasonOf } from './now.tsx';
import { go, linkTo } from './route.ts';
import { nameOf } from './state.ts';

/** What is shown of a call. */
export const TABS = ['timing', 'request', 'response', 'log'] as const;
export type Tab = (typeof TABS)[number];

/** A call that is open. */
export function Call({
  id,
  tab,
  choose,
  close,
}: {
  id: string;
  tab: Tab;
  choose: (next: Tab) => void;
  /** Where one goes who has seen enough; undefined where it stays. */
  close: string | undefined;
}): JSX.Element {
  const { detail, row, error } = useDetail(id);
  const heading = useRef<HTMLHeadingElement>(null);
  // who opens it by a key goes on reading here
  useEffect(() => {
    if (close !== undefined) heading.current?.focus();
  }, []);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === 'Escape' && close !== undefined && document.querySelector('dialog[open]') === null) go(close);
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [close]);
  return (
    <section class="open-call" aria-label="The call that is open">
      <header>
        {close === undefined ? undefined : (
          <a class="button" href={close}>
            Close
          </a>
        )}
        <h2 ref={heading} tabIndex={-1}>
          {row === undefined ? id : nameOf(row)}
        </h2>
      </header>
      <Problem text={error} />
      {row === undefined ? undefined : <Summary call={row} detail={detail} />}
      {detail === undefined ? undefined : (
        <>
          <Actions detail={detail} />
          <div class="tabs" role="tablist">
            {TABS.map(one => (
              <button
                type="button"
                role="tab"
                key={one}
                id={`tab-${one}`}
                aria-selected={one === tab}
                aria-controls="tab-panel"
                tabIndex={one === tab ? 0 : -1}
                onClick={() => choose(one)}
                onKeyDown={({ key }) => {
                  const by = key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? -1 : 0;
                  const next = TABS[(TABS.indexOf(one) + by + TABS.length) % TABS.length];
                  if (by === 0 || next === undefined) return;
                  choose(next);
                  document.getElementById(`tab-${next}`)?.focus();
                }}
              >
                {one === 'log' ? `log (${detail.lines.length})` : one}
              </button>
            ))}
          </div>
          <div role="tabpanel" id="tab-panel" aria-labelledby={`tab-${tab}`}>
            <Panel tab={tab} detail={detail} />
          </div>
        </>
      )}
    </section>
  );
}

/** The row that was opened last: while many calls come, it may be let go before it is asked for. */
let opened: CallRow | undefined;

/** Keeps what is known of a call that is about to be opened. */
export function remember(row: CallRow): void {
  opened = row;
}

/** A call's detail, asked for again whenever it has gone on, and what is known of it in any case. */
export function useDetail(id: string): {
  detail: CallDetail | undefined;
  row: CallRow | undefined;
  error: string;
} {
  const row = useDesk().calls.get(id);
  if (row !== undefined) opened = row;
  const [detail, setDetail] = useState<CallDetail>();
  const { error, ask } = useAsked();
  useEffect(() => {
    let isOld = false;
    const load = (): void =>
      void ask(async () => {
        const got = await getCall(id);
        if (!isOld) setDetail(got);
      });
    load();
    // what was printed just before the answer may be read after it
    const later = row?.isDone === true ? setTimeout(load, 300) : undefined;
    return () => {
      isOld = true;
      clearTimeout(later);
    };
  }, [id, row]);
  const known = row ?? (opened?.id === id ? opened : undefined);
  return { detail, row: detail?.call ?? known, error };
}

function Summary({ call, detail }: { call: CallRow; detail: CallDetail | undefined }): JSX.Element {
  const failure = detail?.failure;
  const facts: [string, string][] = [
    ['at', timeOfDay(desk.startedAt + call.at, true)],
    ['function', call.function ?? '–'],
    ['instance', call.instance === undefined ? 'none' : shortId(call.instance)],
    ['billed', duration(call.billedMs)],
    ['memory', megabytes(call.memory)],
    ['in', bytes(call.bytesIn)],
    ['out', bytes(call.bytesOut)],
    ['id', call.id],
  ];
  return (
    <div class="summary">
      <p class="outcome">
        <Status row={call} />
        <strong>{call.isDone ? duration(call.totalMs) : 'running'}</strong>
        <Marks row={call} />
        <span class="reason">{call.isDone && detail !== undefined ? reasonOf(detail) : ''}</span>
      </p>
      {failure === undefined ? undefined : (
        <div class="failure">
          <p>
            <strong>{failure.code}</strong>
            {` ${failure.message}`}
          </p>
          {failure.stack.length === 0 ? undefined : <pre>{failure.stack.join('\n')}</pre>}
        </div>
      )}
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function Actions({ detail: { call, curl, notReplayable } }: { detail: CallDetail }): JSX.Element {
  const { error, ask } = useAsked();
  return (
    <div class="actions">
      <button
        type="button"
        disabled={notReplayable !== undefined}
        onClick={() => ask(async () => go(linkTo('calls', (await replay(call.id)).id)))}
      >
        Replay
      </button>
      <a class="button" href={linkTo('send', undefined, { from: call.id })} hidden={call.kind === 'websocket'}>
        Edit and replay
      </a>
      {curl === undefined ? undefined : <Copy text={curl} label="Copy as curl" />}
      {notReplayable === undefined ? undefined : <span class="note">{`Cannot be made again: ${notReplayable}.`}</span>}
      <Problem text={error} />
    </div>
  );
}

function Panel({ tab, detail }: { tab: Tab; detail: CallDetail }): JSX.Element {
  const { record, parts, findings, lines, call } = detail;
  if (tab === 'timing') {
    return (
      <>
        <Waterfall parts={parts} total={call.totalMs} />
        {findings.length === 0 ? undefined : <h3>What FC will not like</h3>}
        {findings.map(finding => (
          <FindingCard key={finding.id} finding={finding} level="h4" />
        ))}
      </>
    );
  }
  if (tab === 'log') {
    return <Log rows={lines} empty="This call has printed nothing." />;
  }
  if (record === undefined) {
    return <p class="note">What was sent and answered was let go, to keep what the desk holds within bounds.</p>;
  }
  return tab === 'request' ? <Request record={record} /> : <Response record={record} />;
}

/** Each part below the one before, from where that ended. */
export function Waterfall({ parts, total }: { parts: readonly Part[]; total: number | undefined }): JSX.Element {
  const last = parts[parts.length - 1];
  const all = total ?? (last === undefined ? 0 : last.fromMs + last.ms);
  const percent = (ms: number): string => `${all === 0 ? 0 : (ms / all) * 100}%`;
  return (
    <table class="waterfall">
      <caption class="hidden">Where the time went</caption>
      <tbody>
        {parts.map(({ name, fromMs, ms }) => (
          <tr key={`${name}${fromMs}`}>
            <th scope="row">{name}</th>
            <td class="track">
              <span
                class={`part ${name.replace(' ', '-')}`}
                style={{ marginLeft: percent(fromMs), width: percent(ms) }}
              />
            </td>
            <td class="ms">{duration(ms)}</td>
          </tr>
        ))}
        <tr class="total">
          <th scope="row">{total === undefined ? 'so far' : 'as the caller waited'}</th>
          <td />
          <td class="ms">{duration(all)}</td>
        </tr>
      </tbody>
    </table>
  );
}

function Request({ record: { sent, request, requestBody } }: { record: CallRecordView }): JSX.Element {
  return (
    <>
      <Head title="As the client sent it" head={sent} other={request} />
      <Head title="As the function’s server got it" head={request} other={sent} />
      <h3>Body</h3>
      <Body body={requestBody} name="request" />
    </>
  );
}

function Response({ record: { response, answer, responseBody } }: { record: CallRecordView }): JSX.Element {
  return (
    <>
      <Head title="As the caller got it" head={answer} other={response} />
      <Head title="As the function’s server gave it" head={response} other={answer} />
      <h3>Body</h3>
      <Body body={responseBody} name="response" />
    </>
  );
}

/** A head; what the other one has not is marked. */
function Head({
  title,
  head,
  other,
}: {
  title: string;
  head: HeadView | undefined;
  other: HeadView | undefined;
}): JSX.Element {
  const key = ([name, value]: readonly [string, string]): string => `${name.toLowerCase()}: ${value}`;
  const known = new Set(other?.headers.map(key));
  return (
    <details class="head" open>
      <summary>
        {title}
        {head === undefined ? ': not at all' : undefined}
      </summary>
      {head === undefined ? undefined : (
        <>
          <p class="first-line">{head.line}</p>
          <dl>
            {head.headers.map((pair, i) => (
              <div key={i} class={other !== undefined && !known.has(key(pair)) ? 'differs' : ''}>
                <dt>{pair[0]}</dt>
                <dd>{pair[1]}</dd>
              </div>
            ))}
          </dl>
        </>
      )}
    </details>
  );
}
