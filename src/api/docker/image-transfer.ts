import type { Engine } from '../../engine/engine.ts';
import { isleError } from '../../lib/errors.ts';
import type { Call, Route } from '../http/call.ts';
import { Fields } from '../http/fields.ts';
import { json, type Reply } from '../http/reply.ts';
import { parseConfig } from './create/parse-config.ts';
import { parseMounts } from './create/parse-mounts.ts';
import { withProgress } from './progress-stream.ts';
import { parseAuth, parseAuthHeader } from './registry-auth.ts';

/** Images coming and going: pull, push, save, load, import, commit, login. */
export function imageTransferRoutes(engine: Engine): Route[] {
  const { images } = engine;
  return [
    {
      method: 'POST',
      path: '/images/create',
      handle: (call) => (call.query.has('fromSrc') ? importImage(engine, call) : pull(engine, call)),
    },
    { method: 'POST', path: '/images/:name/push', handle: (call) => push(engine, call) },
    {
      method: 'GET',
      path: '/images/get',
      async handle(call) {
        call.query.refuse('platform');
        const names = call.query.all('names').flatMap((value) => value.split(','));
        if (names.length === 0) throw isleError('invalidParameter', { message: 'no image names given' });
        return tar(await images.save(names, call.signal));
      },
    },
    {
      method: 'GET',
      path: '/images/:name/get',
      async handle(call) {
        call.query.refuse('platform');
        return tar(await images.save([call.param('name')], call.signal));
      },
    },
    { method: 'POST', path: '/images/load', handle: (call) => load(engine, call) },
    { method: 'POST', path: '/commit', handle: (call) => commit(engine, call) },
    {
      method: 'POST',
      path: '/auth',
      async handle(call) {
        const { status, identityToken } = await images.login(parseAuth(await call.json()));
        return json({ Status: status, IdentityToken: identityToken ?? '' });
      },
    },
  ];
}

function tar(body: Awaited<ReturnType<Engine['images']['save']>>): Reply {
  return { status: 200, headers: { 'content-type': 'application/x-tar' }, body };
}

async function pull(engine: Engine, call: Call): Promise<Reply> {
  const { query } = call;
  const name = query.text('fromImage');
  if (name === '') throw isleError('invalidParameter', { message: 'fromImage: no image named' });
  const tag = query.text('tag');
  const ref = joinReference(name, tag);
  const auth = parseAuthHeader(call.header('x-registry-auth'));
  return withProgress(call, async (onProgress, signal) => {
    await engine.images.pull(ref, {
      platform: query.optional('platform'),
      auth,
      allTags: tag === '' && !hasTag(name),
      onProgress,
      signal,
    });
  });
}

async function push(engine: Engine, call: Call): Promise<Reply> {
  const name = call.param('name');
  const tag = call.query.text('tag');
  const auth = parseAuthHeader(call.header('x-registry-auth'));
  return withProgress(call, (onProgress, signal) =>
    engine.images.push(joinReference(name, tag), {
      auth,
      allTags: tag === '' && !hasTag(name),
      platform: call.query.optional('platform'),
      onProgress,
      signal,
    }),
  );
}

async function importImage(engine: Engine, call: Call): Promise<Reply> {
  const { query } = call;
  if (query.text('fromSrc') !== '-')
    throw isleError('notImplemented', { what: 'importing from a URL (download it and send it: fromSrc=-)' });
  const repo = query.text('repo');
  return withProgress(call, async (send, signal) => {
    const image = await engine.images.import(call.body, {
      ref: repo === '' ? undefined : joinReference(repo, query.text('tag')),
      message: query.text('message'),
      changes: query.all('changes'),
      platform: query.optional('platform'),
      signal,
    });
    send({ status: image.id });
  });
}

async function load(engine: Engine, call: Call): Promise<Reply> {
  call.query.refuse('platform');
  const quiet = call.query.flag('quiet');
  return withProgress(call, async (send, signal) => {
    const loaded = await engine.images.load(call.body, (line) => quiet || send(line), signal);
    for (const { id, names } of loaded) {
      if (names.length === 0) send({ stream: `Loaded image ID: ${id}\n` });
      for (const name of names) send({ stream: `Loaded image: ${name}\n` });
    }
  });
}

async function commit(engine: Engine, call: Call): Promise<Reply> {
  const { query } = call;
  const container = query.text('container');
  if (container === '') throw isleError('invalidParameter', { message: 'container: no container named' });
  const repo = query.text('repo');
  const body = await call.json();
  const { imageId } = await engine.containers.commit(container, {
    ref: repo === '' ? undefined : joinReference(repo, query.text('tag')),
    author: query.text('author'),
    comment: query.text('comment'),
    pause: query.flag('pause', true),
    changes: query.all('changes').flatMap((value) => value.split('\n')),
    config: body.names().length === 0 ? undefined : commitConfig(body),
  });
  return json({ Id: imageId }, 201);
}

/** The body is a ContainerConfig whose image is of no matter. */
function commitConfig(
  body: Fields,
): ReturnType<typeof parseConfig> & { mounts: ReturnType<typeof parseMounts> } {
  const config = new Fields(
    Object.fromEntries([
      ...body.names().map((name) => [name, body.raw(name)]),
      ['image', body.text('Image') || '-'],
    ]),
  );
  return { ...parseConfig(config), mounts: parseMounts(config, new Fields({})) };
}

function joinReference(name: string, tag: string): string {
  if (tag === '') return name;
  return tag.includes(':') ? `${name}@${tag}` : `${name}:${tag}`;
}

function hasTag(name: string): boolean {
  return name.includes('@') || name.lastIndexOf(':') > name.lastIndexOf('/');
}
