// The shapes are those of Alibaba Cloud's "Formats of event for different triggers"
// (https://www.alibabacloud.com/help/en/functioncompute/fc/formats-of-event-for-different-triggers) and, of EventBridge's
// own events, of its "Event overview"; the values are ours.

/** What an event may hold. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** An event as FC's trigger sends it. */
export interface Template {
  readonly meaning: string;
  readonly event: Json;
}

const ACCOUNT = '1234567890123456';
const REGION = 'cn-hangzhou';
const AT = '2026-01-15T08:30:00.000Z';
/** The same in ms and s. */
const AT_MS = Date.parse(AT);
const AT_S = AT_MS / 1000;

/** A message that came through EventBridge, which is one of a batch. @see CloudEvents 1.0 */
const message = (type: string, source: string, subject: string, data: Json): Json => [
  {
    specversion: '1.0',
    id: '5f1c3b0e-6a44-4c55-9a0e-0d3a1b7c2e10',
    source,
    type,
    subject,
    datacontenttype: 'application/json; charset=utf-8',
    time: AT,
    aliyunaccountid: ACCOUNT,
    data,
  },
];

/** A queue's, which EventBridge says more of. */
const queued = (type: string, source: string, subject: string, data: Json): Json => {
  const [event] = message(type, source, subject, data) as [{ readonly [key: string]: Json }];
  return [
    {
      ...event,
      aliyunpublishtime: AT,
      aliyunoriginalaccountid: ACCOUNT,
      aliyuneventbusname: source,
      aliyunregionid: REGION,
      aliyunpublishaddr: '192.0.2.10',
    },
  ];
};

/** FC's triggers by our names. */
export const TEMPLATES: Readonly<Record<string, Template>> = {
  timer: {
    meaning: 'a time trigger; payload is its message',
    event: { triggerTime: '2026-01-15T08:30:00Z', triggerName: 'every-morning', payload: 'wake up' },
  },
  oss: {
    meaning: 'an object was put into a bucket of OSS',
    event: {
      events: [
        {
          eventName: 'ObjectCreated:PutObject',
          eventSource: 'acs:oss',
          eventTime: AT,
          eventVersion: '1.0',
          oss: {
            bucket: { arn: `acs:oss:${REGION}:${ACCOUNT}:pictures`, name: 'pictures', ownerIdentity: ACCOUNT },
            object: {
              deltaSize: 48213,
              eTag: '0F1E2D3C4B5A69788796A5B4C3D2E1F0',
              key: 'incoming/cat.png',
              objectMeta: { mimeType: 'image/png', userMeta: {} },
              size: 48213,
            },
            ossSchemaVersion: '1.0',
            ruleId: '3b1f0c9d7e5a4821b6c4d2e0f8a7961504132435',
          },
          region: REGION,
          requestParameters: { sourceIPAddress: '192.0.2.10' },
          responseElements: { requestId: '65A4EC987B1C2D3E4F506172' },
          userIdentity: { principalId: ACCOUNT },
        },
      ],
    },
  },
  sls: {
    meaning: 'a range of a Simple Log Service log, to be read by the function',
    event: {
      parameter: {},
      source: {
        endpoint: `http://${REGION}-intranet.log.aliyuncs.com`,
        projectName: 'my-project',
        logstoreName: 'my-logstore',
        shardId: 0,
        beginCursor: 'MTc2ODQ2NTgwMDAwMDAwMDAwMA==',
        endCursor: 'MTc2ODQ2NTgwMDAwMDAwMDAwMQ==',
      },
      jobName: '5c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d',
      taskId: '7d3c6a52-91b4-4c1f-8f0e-2a6b9d8c7e51',
      cursorTime: AT_S,
    },
  },
  'mns-topic': {
    meaning: 'a message of a topic, where the trigger is set to JSON; with STREAM the message alone is the event',
    event: {
      TopicOwner: ACCOUNT,
      Message: 'hello',
      Subscriber: ACCOUNT,
      PublishTime: AT_MS,
      SubscriptionName: 'my-subscription',
      MessageMD5: '5D41402ABC4B2A76B9719D911017C592',
      TopicName: 'my-topic',
      MessageId: '0A1B2C3D4E5F60718293A4B5C6D7E8F9',
    },
  },
  'mns-queue': {
    meaning: 'messages of a queue',
    event: queued('mns:Queue:SendMessage', 'MNS-app-my-trigger', `acs:mns:${REGION}:${ACCOUNT}:queues/my-queue`, {
      requestId: '65A4EC98616263646566',
      messageId: '1B2C3D4E5F60718293A4B5C6D7E8F90A',
      messageBody: 'hello',
    }),
  },
  cdn: {
    meaning: 'CDN has refreshed its copies of files',
    event: {
      events: [
        {
          eventName: 'CachedObjectsRefreshed',
          eventVersion: '1.0.0',
          eventSource: 'cdn',
          region: REGION,
          eventTime: '2026-01-15T16:30:00+08:00',
          traceId: '0c7d9a4e-2f1b-4a36-8c55-7b9e3d6f1a20',
          resource: { domain: 'www.example.com' },
          eventParameter: {
            objectPath: ['/films/one.mp4', '/films/two.mp4'],
            createTime: AT_S - 8,
            domain: 'www.example.com',
            completeTime: AT_S,
            objectType: 'File',
            taskId: 2026011501,
          },
          userIdentity: { aliUid: ACCOUNT },
        },
      ],
    },
  },
  tablestore: {
    meaning: 'rows of a table have changed; on FC this is CBOR, not JSON',
    event: {
      Version: 'Sync-v1',
      Records: [
        {
          Type: 'PutRow',
          Info: { Timestamp: AT_MS * 1000 },
          PrimaryKey: [
            { ColumnName: 'customer', Value: 'c-1001' },
            { ColumnName: 'order', Value: 42 },
          ],
          Columns: [
            { Type: 'Put', ColumnName: 'state', Value: 'paid', Timestamp: AT_MS },
            { Type: 'Put', ColumnName: 'amount', Value: 20, Timestamp: AT_MS },
          ],
        },
      ],
    },
  },
  'api-gateway': {
    meaning: 'a request that API Gateway passes on to a function for events',
    event: {
      path: '/orders/42',
      httpMethod: 'POST',
      headers: { 'content-type': 'application/json', 'x-forwarded-for': '192.0.2.10' },
      queryParameters: { verbose: 'true' },
      pathParameters: { id: '42' },
      body: '{"amount":20}',
      isBase64Encoded: false,
    },
  },
  eventbridge: {
    meaning: 'an event of a bus',
    event: {
      specversion: '1.0',
      id: '5f1c3b0e-6a44-4c55-9a0e-0d3a1b7c2e10',
      source: 'my.application',
      type: 'my.application:Order:Paid',
      subject: `acs:eventbridge:${REGION}:${ACCOUNT}:eventbus/my-bus/eventsource/my.application`,
      datacontenttype: 'application/json; charset=utf-8',
      time: AT,
      aliyunaccountid: ACCOUNT,
      aliyunpublishtime: AT,
      aliyunoriginalaccountid: ACCOUNT,
      aliyuneventbusname: 'my-bus',
      aliyunregionid: REGION,
      aliyunpublishaddr: '192.0.2.10',
      data: { order: 42, amount: 20 },
    },
  },
  kafka: {
    meaning: 'messages of a topic of ApsaraMQ for Kafka',
    event: message('alikafka:Topic:Message', 'acs:alikafka', 'acs:alikafka:alikafka_pre-cn-example:topic:my-topic', {
      topic: 'my-topic',
      partition: 3,
      offset: 25,
      timestamp: AT_MS,
      headers: { headers: [], isReadOnly: false },
      key: 'order-42',
      value: 'paid',
    }),
  },
  rocketmq: {
    meaning: 'messages of a topic of ApsaraMQ for RocketMQ',
    event: queued(
      'mq:Topic:SendMessage',
      'RocketMQ-app-my-trigger',
      `acs:mq:${REGION}:${ACCOUNT}:MQ_INST_${ACCOUNT}_EXAMPLE%my-topic`,
      {
        topic: 'my-topic',
        systemProperties: {
          MIN_OFFSET: '0',
          TRACE_ON: 'true',
          MAX_OFFSET: '8',
          MSG_REGION: REGION,
          KEYS: 'order-42',
          CONSUME_START_TIME: AT_MS,
          UNIQ_KEY: 'C0A8010A00010000000000000000002A',
          TAGS: 'paid',
          INSTANCE_ID: `MQ_INST_${ACCOUNT}_EXAMPLE`,
        },
        userProperties: {},
        body: 'hello',
      },
    ),
  },
  rabbitmq: {
    meaning: 'messages of a queue of ApsaraMQ for RabbitMQ',
    event: queued(
      'amqp:Queue:SendMessage',
      'RabbitMQ-app-my-trigger',
      `acs:amqp:${REGION}:${ACCOUNT}:/instances/amqp-cn-example/vhosts/my-vhost/queues/my-queue`,
      {
        envelope: { deliveryTag: 98, exchange: '', redeliver: false, routingKey: 'my-queue' },
        body: { order: 42 },
        props: { contentEncoding: 'UTF-8', messageId: '2e8b6f10-4d7a-4b52-9c3e-6a1f0d5b8c74' },
      },
    ),
  },
};
