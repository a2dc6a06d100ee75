import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { CallDetail, Sending, Timer } from '../api.ts';
import { Problem, useAsked } from './bits.tsx';
import { decode, textOf } from './body.tsx';
import { Call, type Tab } from './call.tsx';
import { getCall, replay, send } from './client.ts';
import { timeOfDay } from './format.ts';
import { desk, useDesk } from './live.ts';
import { go, linkTo, type Route } from './route.ts';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
/** Of what was sent so many are remembered, while the page is open. */
const MOST_SENT = 20;

/** What is in the form. */
interface Draft {
  kind: 'http' | 'event';
  method: string;
  path: string;
  /** One a line: `name: value`. */
  headers: string;
  body: string;
  isAsync: boolean;
  template: string;
  /** The call that it was made from: what is masked in it is sent as it was. */
  from: string | undefined;
}

const draft: Draft = {
  kind: 'http',
  method: 'GET',
  path: '/',
  headers: '',
  body: '',
  isAsync: false,
  template: '',
  from: undefined,
};

const sent: { readonly id: string; readonly text: string; readonly at: number }[] = [];

/** Lines of `name: value`. @throws {Error} saying which is not. */
export function readHeaders(text: string): [string, string][] {
  return text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '')
    .map(line => {
      const [, name, value] = /^([^:\s]+)\s*:\s*(.*)$/.exec(line) ?? [];
      if (name === undefined || value === undefined) throw new Error(`header "${line}": expected "name: value"`);
      return [name, value];
    });
}

/** A call of one's own, and what comes of it. */
export function Send({ route }: { route: Route }): JSX.Element {
  const { about } = useDesk();
  const [, update] = useState(0);
  const [last, setLast] = useState<string>();
  const [tab, setTab] = useState<Tab>('timing');
  const { error, ask } = useAsked();
  const change = (what: Partial<Draft>): void => {
    Object.assign(draft, what);
    update(turn => turn + 1);
  };
  const from = route.params.get('from');
  useEffect(() => {
    if (from === null || from === draft.from) return;
    ask(async () => change(draftOf(await getCall(from))));
  }, [from]);

  async function make(): Promise<void> {
    await ask(async () => {
      const { id } = await submit();
      sent.unshift({ id, text: draft.kind === 'event' ? 'event' : `${draft.method} ${draft.path}`, at: Date.now() });
      sent.length = Math.min(sent.length, MOST_SENT);
      setLast(id);
    });
  }

  const jsonProblem = draft.kind === 'event' ? problemOf(draft.body) : '';
  return (
    <div class="send">
      <form
        onSubmit={event => {
          event.preventDefault();
          make();
        }}
      >
        <fieldset class="choice">
          <legend class="hidden">What is sent</legend>
          <button type="button" aria-pressed={draft.kind === 'http'} onClick={() => change({ kind: 'http' })}>
            HTTP request
          </button>
          <button type="button" aria-pressed={draft.kind === 'event'} onClick={() => change({ kind: 'event' })}>
            Event
          </button>
        </fieldset>
        {draft.from === undefined ? undefined : (
          <p class="note">
            {'Made from '}
            <a href={linkTo('calls', draft.from)}>an earlier call</a>
            {'. Values shown as *** are sent as they were. '}
            <button
              type="button"
              class="quiet"
              onClick={() => {
                change({ from: undefined });
                go(linkTo('send'), false);
              }}
            >
              Forget it
            </button>
          </p>
        )}
        {draft.kind === 'http' ? <HttpFields change={change} /> : <EventFields change={change} />}
        <label>
          Body
          <textarea
            rows={draft.kind === 'event' ? 14 : 6}
            spellcheck={false}
            value={draft.body}
            onInput={event => change({ body: event.currentTarget.value })}
          />
        </label>
        {jsonProblem === '' ? undefined : <p class="note">{`Not JSON (it is sent all the same): ${jsonProblem}`}</p>}
        <label class="check">
          <input
            type="checkbox"
            checked={draft.isAsync}
            onChange={event => change({ isAsync: event.currentTarget.checked })}
          />
          asynchronous: accepted with 202, and made again when it fails
        </label>
        <p class="actions">
          <button type="submit" class="primary">
            Send
          </button>
          <Problem text={error} />
        </p>
        {about === undefined || about.timers.length === 0 ? undefined : (
          <Timers timers={about.timers} fired={setLast} />
        )}
        <Sent />
      </form>
      <div class="result">
        {last === undefined ? (
          <p class="note">What comes of it is shown here.</p>
        ) : (
          <Call key={last} id={last} tab={tab} choose={setTab} close={undefined} />
        )}
      </div>
    </div>
  );
}

/** Sends what is in the form; made from another call, with what is masked in that one. */
function submit(): Promise<{ id: string }> {
  const { kind, from, method, path, isAsync } = draft;
  const body = { text: draft.body };
  if (kind === 'event') return send({ kind, body, isAsync });
  const headers = readHeaders(draft.headers);
  return from === undefined
    ? send({ kind, method, path, headers, body, isAsync })
    : replay(from, { method, path, headers, body });
}

function problemOf(text: string): string {
  try {
    if (text.trim() !== '') JSON.parse(text);
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

/** A call, to be changed and made again. */
function draftOf({ call, record }: CallDetail): Partial<Draft> {
  const body = textOf(decode(record?.requestBody.base64 ?? '')) ?? '';
  const skipped = /^(content-length|transfer-encoding|connection|host|x-forwarded-for)$/i;
  const headers = (record?.sent.headers ?? []).filter(([name]) => !skipped.test(name));
  return {
    kind: call.kind === 'event' ? 'event' : 'http',
    method: call.method ?? 'POST',
    path: call.path ?? '/',
    headers: headers.map(([name, value]) => `${name}: ${value}`).join('\n'),
    body,
    isAsync: call.isAsync,
    from: call.id,
  };
}

type ChangeDraft = (what: Partial<Draft>) => void;

function HttpFields({ change }: { change: ChangeDraft }): JSX.Element {
  return (
    <>
      <div class="line">
        <label>
          Method
          <select value={draft.method} onChange={event => change({ method: event.currentTarget.value })}>
            {METHODS.map(method => (
              <option key={method}>{method}</option>
            ))}
          </select>
        </label>
        <label class="wide">
          Path
          <input
            type="text"
            value={draft.path}
            spellcheck={false}
            onInput={event => change({ path: event.currentTarget.value })}
          />
        </label>
      </div>
      <label>
        Headers, one a line
        <textarea
          rows={3}
          spellcheck={false}
          placeholder="content-type: application/json"
          value={draft.headers}
          onInput={event => change({ headers: event.currentTarget.value })}
        />
      </label>
    </>
  );
}

function EventFields({ change }: { change: ChangeDraft }): JSX.Element {
  const { templates = [] } = desk.about ?? {};
  const chosen = templates.find(({ name }) => name === draft.template);
  return (
    <>
      <label>
        Event of a trigger
        <select
          value={draft.template}
          onChange={event => {
            const name = event.currentTarget.value;
            const { payload } = templates.find(one => one.name === name) ?? {};
            change({ template: name, ...(payload !== undefined && { body: payload }) });
          }}
        >
          <option value="">one of your own</option>
          {templates.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      {chosen === undefined ? undefined : <p class="note">{chosen.meaning}</p>}
    </>
  );
}

/** As FC writes it: UTC, without ms. */
const triggerTime = (at: Date): string => at.toISOString().replace(/\.\d+Z$/, 'Z');

function Timers({ timers, fired }: { timers: readonly Timer[]; fired: (id: string) => void }): JSX.Element {
  const [at, setAt] = useState('');
  const { error, ask } = useAsked();
  const fire = ({ name, payload }: Timer, when: Date): Promise<void> =>
    ask(async () => {
      const event = { triggerTime: triggerTime(when), triggerName: name, payload };
      const sending: Sending = { kind: 'event', isAsync: true, body: { text: JSON.stringify(event) } };
      fired((await send(sending)).id);
    });
  const chosen = new Date(at);
  return (
    <section class="timers">
      <h2>Timers of the deployment</h2>
      <ul>
        {timers.map(timer => (
          <li key={timer.name}>
            <strong>{timer.name}</strong>
            <code>{timer.schedule}</code>
            <button type="button" onClick={() => fire(timer, new Date())}>
              Run now
            </button>
            <button type="button" disabled={Number.isNaN(chosen.getTime())} onClick={() => fire(timer, chosen)}>
              Run as if at
            </button>
          </li>
        ))}
      </ul>
      <label>
        As if at
        <input type="datetime-local" step="1" value={at} onInput={event => setAt(event.currentTarget.value)} />
      </label>
      <Problem text={error} />
    </section>
  );
}

/** What was sent while the page has been open. */
function Sent(): JSX.Element | null {
  if (sent.length === 0) return null;
  return (
    <section>
      <h2>Sent from here</h2>
      <ul class="sent">
        {sent.map(({ id, text, at }) => (
          <li key={id}>
            <time>{timeOfDay(at)}</time>
            <a href={linkTo('calls', id)}>{text}</a>
          </li>
        ))}
      </ul>
    </section>
  );
}
