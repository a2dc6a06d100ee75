import * as assert from 'uvu/assert';
import { FcError } from '../../../src/desk/fc/answers.ts';
import type { HeaderPairs } from '../../../src/desk/fc/headers.ts';
import { createSessions, SESSION_COOKIE, type Sessions } from '../../../src/desk/fc/sessions.ts';
import { functionSettings, SESSION_AFFINITY, type SessionAffinity } from '../../../src/desk/fc/settings.ts';
import { eventually, suite } from '../../helpers.ts';
import { eventsOf, get, order, whole, withFc } from './stand-in.ts';

const sessions = suite('sessions');

const made = (affinity: Partial<SessionAffinity> & Pick<SessionAffinity, 'by'>): Sessions =>
  createSessions({ ...SESSION_AFFINITY, ...affinity }, () => {});

const value = (headers: HeaderPairs, wanted: string): string | undefined =>
  headers.find(([name]) => name.toLowerCase() === wanted.toLowerCase())?.[1];

sessions('should end when they have rested, or are too old; not while a call of theirs is open', async () => {
  for (const limits of [{ idle: 0 }, { ttl: 0 }]) {
    const kept = made({ by: 'cookie', ...limits });
    kept.settle('one', 'c-1');
    if ('idle' in limits) {
      await new Promise(done => setTimeout(done, 5));
      assert.equal([kept.home('one'), kept.count('c-1')], ['c-1', 1], 'as long as its call is open');
      kept.leave('one');
    }
    await eventually('its end', async () => kept.home('one') === undefined, 1000);
    assert.is(kept.count('c-1'), 0);
    assert.is(made({ by: 'cookie' }).home('one'), undefined);
  }
});

sessions('should take the id that the client names, be it one cookie of many', () => {
  const kept = made({ by: 'cookie' });
  const cookies: HeaderPairs = [['Cookie', `a=1; x${SESSION_COOKIE}=no; ${SESSION_COOKIE}=mine=yours; b=2`]];
  assert.equal(kept.open('GET', cookies).id, 'mine=yours');
  assert.equal(kept.open('GET', cookies).headers, []);
  const header = made({ by: 'header', header: 'my-session' });
  assert.is(header.open('GET', [['My-Session', 'abc_1-2']]).id, 'abc_1-2');
  for (const bad of ['', '-a', 'a b', 'é', 'x'.repeat(65)]) {
    assert.throws(
      () => header.open('GET', [['my-session', bad]]),
      (error: unknown) => error instanceof FcError && error.code === 'InvalidArgument' && error.status === 400,
    );
  }
});

sessions('should lead a cookie back to the instance that has begun it', async () => {
  await withFc({ sessionAffinity: { by: 'cookie', perInstance: 1 } }, async fc => {
    const first = await whole(get(fc));
    const cookie = value(first.answer.headers, 'set-cookie') ?? '';
    assert.match(cookie, /^x-fc-cookie-session-id=[0-9a-f-]{36}; Max-Age=21600; Path=\/; HttpOnly$/);
    const mine: HeaderPairs = [['Cookie', cookie.split(';', 1)[0] ?? '']];
    const other = await whole(get(fc));
    assert.is.not(other.answer.instance, first.answer.instance, 'a client without is another one');
    for (let i = 0; i < 3; i++) {
      const again = await whole(get(fc, {}, { headers: mine }));
      assert.is(again.answer.instance, first.answer.instance);
      assert.is(value(again.answer.headers, 'set-cookie'), undefined);
    }
    const event = await whole(fc.invoke({ headers: mine }));
    assert.is(event.answer.instance, first.answer.instance, 'an event is of a session, too');
    assert.equal(
      eventsOf(fc, 'session').map(({ sessions: many }) => many),
      [1, 1],
    );
    const async = await fc.http({ method: 'GET', path: '/', invocationType: 'Async', headers: order({}) });
    assert.equal([async.status, value(async.headers, 'set-cookie')], [202, undefined], 'what is asynchronous has none');
  });
});

sessions('should tell a client the id that it has been given in the header of the function’s choice', async () => {
  await withFc({ sessionAffinity: { by: 'header', header: 'My-Session', perInstance: 1 } }, async fc => {
    const first = await whole(get(fc));
    const id = value(first.answer.headers, 'my-session') ?? '';
    assert.match(id, /^[0-9a-f-]{36}$/);
    const named = await whole(get(fc, {}, { headers: [['My-Session', 'chosen']] }));
    assert.equal([named.status, value(named.answer.headers, 'my-session')], [200, undefined]);
    assert.is.not(named.answer.instance, first.answer.instance);
    const again = await whole(get(fc, {}, { headers: [['my-session', id]] }));
    assert.is(again.answer.instance, first.answer.instance);
    const bad = await whole(get(fc, {}, { headers: [['my-session', '-']] }));
    assert.is(bad.status, 400);
  });
});

sessions('should follow MCP: the function names a session, the client ends it', async () => {
  await withFc({ sessionAffinity: { by: 'mcp', perInstance: 1 }, maxInstances: 2 }, async fc => {
    const initialize = (id: string) => get(fc, { headers: ['Mcp-Session-Id', id] });
    const one = await whole(initialize('one'));
    const two = await whole(initialize('two'));
    assert.is.not(one.answer.instance, two.answer.instance);
    const of = (id: string): { headers: HeaderPairs } => ({ headers: [['mcp-session-id', id]] });
    assert.is((await whole(get(fc, {}, of('one')))).answer.instance, one.answer.instance);
    assert.is((await whole(get(fc, {}, of('two')))).answer.instance, two.answer.instance);
    assert.is((await whole(initialize('three'))).status, 429, 'no instance has room for another');
    const end = await whole(get(fc, { status: 204 }, { ...of('one'), method: 'DELETE' }));
    assert.is(end.status, 204);
    assert.is((await whole(initialize('three'))).answer.instance, one.answer.instance);
  });
});

sessions('should take as many calls as FC allows, in 3.0 alone', async () => {
  await withFc({ sessionAffinity: { by: 'cookie' }, instanceConcurrency: 1 }, async fc => {
    assert.is(fc.settings.instanceConcurrency, 200);
  });
  assert.throws(
    () => functionSettings({ command: ['x'], flavour: '2.0', sessionAffinity: { by: 'cookie' } }),
    /sessionAffinity: expected none in 2\.0/,
  );
});

sessions.run();
