import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflate } from 'node:zlib';

const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
/** Pixels; larger than any screen that QEMU makes. */
const longestSide = 16_384;
/** Bytes of pixels: QEMU itself gives no screen more memory unless it is told to. */
const mostPixels = 256 << 20;

/**
 * The picture in a PNG that comes from a monitor which a guest may have taken over: whole, with sound checksums, exactly
 * as many pixels as it says, and nothing but the picture. Throws with what is wrong.
 */
export async function soundPng(data: Buffer): Promise<Buffer> {
  if (!data.subarray(0, 8).equals(signature)) throw new Error('it is no PNG');
  const kept: Buffer[] = [signature];
  const pixels: Buffer[] = [];
  let header: Header | undefined;
  let at = 8;
  for (;;) {
    const chunk = chunkAt(data, at);
    at += chunk.whole.length;
    if (!header) header = headerOf(chunk);
    else if (chunk.type === 'IDAT') pixels.push(chunk.content);
    else if (chunk.type === 'IHDR') throw new Error('it has two headers');
    if (['IHDR', 'PLTE', 'IDAT', 'IEND'].includes(chunk.type)) kept.push(chunk.whole);
    // A capital says that a reader must understand it.
    else if (/^[A-Z]/.test(chunk.type)) throw new Error(`it has a part ${JSON.stringify(chunk.type)}`);
    if (chunk.type === 'IEND') break;
  }
  const size = bytesOf(header);
  if (size > mostPixels) throw new Error(`it has ${header.width} × ${header.height} pixels`);
  const found = await inflatedSize(pixels, size);
  if (found !== size) throw new Error(`it has ${found} bytes of pixels instead of ${size}`);
  return Buffer.concat(kept);
}

/** They are looked at piece by piece: a few bytes can become gigabytes. */
async function inflatedSize(compressed: Buffer[], most: number): Promise<number> {
  let sum = 0;
  const count = new Writable({
    write(chunk: Buffer, _encoding, done) {
      sum += chunk.length;
      done(sum > most ? new Error(`its pixels are larger than ${most} bytes`) : null);
    },
  });
  await pipeline(Readable.from(compressed), createInflate({ chunkSize: 256 * 1024 }), count);
  return sum;
}

interface Chunk {
  type: string;
  content: Buffer;
  whole: Buffer;
}

function chunkAt(data: Buffer, at: number): Chunk {
  if (at + 12 > data.length) throw new Error('it ends too early');
  const length = data.readUInt32BE(at);
  if (length > data.length - at - 12) throw new Error('it ends too early');
  const whole = data.subarray(at, at + 12 + length);
  if (crc32(whole.subarray(4, 8 + length)) !== whole.readUInt32BE(8 + length))
    throw new Error('a checksum does not match');
  return { type: whole.toString('latin1', 4, 8), content: whole.subarray(8, 8 + length), whole };
}

interface Header {
  width: number;
  height: number;
  bitsPerPixel: number;
}

/** Samples of each colour type; others do not exist. */
const samples: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

function headerOf({ type, content }: Chunk): Header {
  if (type !== 'IHDR' || content.length !== 13) throw new Error('it does not begin with a header');
  const [width, height] = [content.readUInt32BE(0), content.readUInt32BE(4)];
  const [depth = 0, colour = 0, compression, filter, interlace] = content.subarray(8);
  const perPixel = samples[colour];
  if (width < 1 || height < 1 || width > longestSide || height > longestSide)
    throw new Error(`it has ${width} × ${height} pixels`);
  if (
    perPixel === undefined ||
    ![1, 2, 4, 8, 16].includes(depth) ||
    compression !== 0 ||
    filter !== 0 ||
    interlace !== 0
  )
    throw new Error('it is of a kind that QEMU does not write');
  return { width, height, bitsPerPixel: perPixel * depth };
}

/** Each line has a byte for its filter. */
function bytesOf({ width, height, bitsPerPixel }: Header): number {
  return height * (1 + Math.ceil((width * bitsPerPixel) / 8));
}
