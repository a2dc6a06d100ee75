import * as assert from 'uvu/assert';
import { changed } from '../../../src/desk/events/change.ts';
import { eventHelp } from '../../../src/desk/events/command.ts';
import { type Json, TEMPLATES } from '../../../src/desk/events/templates.ts';
import { run, suite } from '../../helpers.ts';

const events = suite('noslate-fc event');

/** Runs the command, and gives what it has printed. */
async function printed(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(['event', ...args]);
  assert.equal([code, stderr], [0, '']);
  return stdout;
}

/** Every path in an event, lists by their first item. */
function paths(value: Json, here: string = ''): string[] {
  if (typeof value !== 'object' || value === null) return [here];
  const below = Array.isArray(value) ? value.slice(0, 1).entries() : Object.entries(value);
  const found = [...below].flatMap(([key, item]) => paths(item, here === '' ? String(key) : `${here}.${key}`));
  return found.length === 0 ? [here] : found;
}

events('should have each event in the shape that FC documents', () => {
  const cloud = 'specversion id source type subject datacontenttype time aliyunaccountid';
  const published =
    'aliyunpublishtime aliyunoriginalaccountid aliyuneventbusname aliyunregionid aliyunpublishaddr'.split(' ');
  const batch = (fields: readonly string[], data: string): string[] => [
    ...[...cloud.split(' '), ...fields].map(field => `0.${field}`),
    ...data.split(' ').map(field => `0.data.${field}`),
  ];
  const oss =
    'oss.bucket.arn oss.bucket.name oss.bucket.ownerIdentity oss.object.deltaSize oss.object.eTag oss.object.key oss.object.objectMeta.mimeType oss.object.objectMeta.userMeta oss.object.size oss.ossSchemaVersion oss.ruleId';
  const mq = 'MIN_OFFSET TRACE_ON MAX_OFFSET MSG_REGION KEYS CONSUME_START_TIME UNIQ_KEY TAGS INSTANCE_ID';
  const shapes: Record<string, string[]> = {
    timer: ['triggerTime', 'triggerName', 'payload'],
    oss: `eventName eventSource eventTime eventVersion ${oss} region requestParameters.sourceIPAddress responseElements.requestId userIdentity.principalId`
      .split(' ')
      .map(field => `events.0.${field}`),
    sls: [
      'parameter',
      ...'endpoint projectName logstoreName shardId beginCursor endCursor'.split(' ').map(field => `source.${field}`),
      'jobName',
      'taskId',
      'cursorTime',
    ],
    'mns-topic': 'TopicOwner Message Subscriber PublishTime SubscriptionName MessageMD5 TopicName MessageId'.split(' '),
    'mns-queue': batch(published, 'requestId messageId messageBody'),
    cdn: `eventName eventVersion eventSource region eventTime traceId resource.domain eventParameter.objectPath.0 eventParameter.createTime eventParameter.domain eventParameter.completeTime eventParameter.objectType eventParameter.taskId userIdentity.aliUid`
      .split(' ')
      .map(field => `events.0.${field}`),
    tablestore: [
      'Version',
      ...'Type Info.Timestamp PrimaryKey.0.ColumnName PrimaryKey.0.Value Columns.0.Type Columns.0.ColumnName Columns.0.Value Columns.0.Timestamp'
        .split(' ')
        .map(field => `Records.0.${field}`),
    ],
    'api-gateway':
      'path httpMethod headers.content-type headers.x-forwarded-for queryParameters.verbose pathParameters.id body isBase64Encoded'.split(
        ' ',
      ),
    eventbridge: [...cloud.split(' '), ...published, 'data.order', 'data.amount'],
    kafka: batch([], 'topic partition offset timestamp headers.headers headers.isReadOnly key value'),
    rocketmq: batch(
      published,
      ['topic', ...mq.split(' ').map(field => `systemProperties.${field}`), 'userProperties', 'body'].join(' '),
    ),
    rabbitmq: batch(
      published,
      'envelope.deliveryTag envelope.exchange envelope.redeliver envelope.routingKey body.order props.contentEncoding props.messageId',
    ),
  };
  assert.equal(Object.keys(TEMPLATES), Object.keys(shapes));
  for (const [name, shape] of Object.entries(shapes)) {
    assert.equal(paths(TEMPLATES[name]?.event ?? null).sort(), [...shape].sort(), name);
  }
});

events('should print each as JSON that its template is', async () => {
  for (const name of ['timer', 'kafka']) assert.equal(JSON.parse(await printed(name)), TEMPLATES[name]?.event);
  assert.match(await printed('timer'), /^\{\n {2}"triggerTime": "\S+",\n.*\n {2}"payload": "wake up"\n\}\n$/);
});

events('should list them where none is named', async () => {
  const stdout = await printed();
  for (const [name, { meaning }] of Object.entries(TEMPLATES))
    assert.ok(stdout.includes(`  ${name}\n      ${meaning}\n`));
  assert.is(await printed('--help'), eventHelp());
  assert.ok(eventHelp().includes('--set PATH=VALUE') && eventHelp().includes(stdout));
});

events('should change values by their paths', async () => {
  const event = JSON.parse(
    await printed('oss', '--set', 'events.0.oss.object.key=a=b.png', '--set=events.0.oss.object.size=7'),
  );
  assert.equal([event.events[0].oss.object.key, event.events[0].oss.object.size], ['a=b.png', 7]);
  // biome-ignore format: a table
  const cases: [Json, string, Json][] = [
    [{ a: 'x' }, 'a=5', { a: '5' }],
    [{ a: 1 }, 'a=5', { a: 5 }],
    [{ a: 'x' }, 'a=', { a: '' }],
    [{ a: {} }, 'a={"b":[true]}', { a: { b: [true] } }],
    [[{ a: false }, 1], '0.a=true', [{ a: true }, 1]],
    [['x', 'y'], '1=z', ['x', 'z']],
  ];
  for (const [before, change, after] of cases) {
    const kept = JSON.stringify(before);
    assert.equal(changed(before, change), after, change);
    assert.is(JSON.stringify(before), kept, 'the template stays');
  }
});

events('should say what is wrong with what it is asked', async () => {
  // biome-ignore format: a table
  const cases: [string[], string][] = [
    [['timr'], 'timr: unknown event, did you mean timer?'],
    [['toString'], `toString: unknown event, expected one of ${Object.keys(TEMPLATES).join(', ')}`],
    [['timer', 'oss'], 'expected one NAME, got timer oss'],
    [['timer', '--set', 'payload'], '--set: expected PATH=VALUE, got "payload"'],
    [['timer', '--set', 'paylod=x'], '--set: paylod: no "paylod" in the event, did you mean payload?'],
    [['timer', '--set', 'payload.x=1'], '--set: payload.x: no "x" in payload, it has nothing below it'],
    [['oss', '--set', 'events.1.region=x'], '--set: events.1.region: no "1" in events, expected one of 0'],
    [['oss', '--set', 'events.0.oss.object.size=big'], '--set: events.0.oss.object.size: expected JSON, got "big"'],
    [['timer', '--nonsense'], '--nonsense: unknown flag, expected one of --set, --help'],
    [['--set', 'a=b'], '--set: expected NAME of an event with it, got none'],
  ];
  for (const [args, problem] of cases) {
    const { code, stdout, stderr } = await run(['event', ...args]);
    assert.equal([code, stdout, stderr], [78, '', `noslate-fc event: ${problem}\n`]);
  }
});

events.run();
