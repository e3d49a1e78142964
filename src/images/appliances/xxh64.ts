/**
 * XXH64 with seed 0, as 16 hexadecimal digits: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md. XenServer's checksums;
 * they find damage, not malice. Numbers of 64 bits are pairs of 32, since BigInt takes twenty times as long.
 */
export function xxh64(data: Buffer): string {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const length = data.length;
  let at = 0;
  let h: Pair;
  if (length >= 32) {
    const lanes: Pair[] = [add(P1, P2), [...P2], [0, 0], negate(P1)];
    const round = new Rounds(lanes);
    for (; at + 32 <= length; at += 32) round.stripe(view, at);
    h = round.merged();
  } else {
    h = [...P5];
  }
  h = add(h, [Math.floor(length / 2 ** 32), length >>> 0]);
  for (; at + 8 <= length; at += 8) {
    const k = multiply(
      rotate(multiply([view.getUint32(at + 4, true), view.getUint32(at, true)], P2), 31),
      P1,
    );
    h = add(multiply(rotate(xor(h, k), 27), P1), P4);
  }
  if (at + 4 <= length) {
    h = add(multiply(rotate(xor(h, multiply([0, view.getUint32(at, true)], P1)), 23), P2), P3);
    at += 4;
  }
  for (; at < length; at++) h = multiply(rotate(xor(h, multiply([0, view.getUint8(at)], P5)), 11), P1);
  h = multiply(xor(h, shift(h, 33)), P2);
  h = multiply(xor(h, shift(h, 29)), P3);
  h = xor(h, shift(h, 32));
  return h.map((part) => (part >>> 0).toString(16).padStart(8, '0')).join('');
}

/** The high and the low half. */
type Pair = [number, number];

const P1: Pair = [0x9e3779b1, 0x85ebca87];
const P2: Pair = [0xc2b2ae3d, 0x27d4eb4f];
const P3: Pair = [0x165667b1, 0x9e3779f9];
const P4: Pair = [0x85ebca77, 0xc2b2ae63];
const P5: Pair = [0x27d4eb2f, 0x165667c5];

/** The main loop on numbers in one array: pairs made for each step would take most of the time. */
class Rounds {
  readonly #state = new Int32Array(8);

  constructor(lanes: Pair[]) {
    for (const [index, [high, low]] of lanes.entries()) {
      this.#state[index * 2] = high;
      this.#state[index * 2 + 1] = low;
    }
  }

  stripe(view: DataView, at: number): void {
    for (let lane = 0; lane < 4; lane++) {
      const state = this.#state;
      const low = view.getInt32(at + lane * 8, true);
      const high = view.getInt32(at + lane * 8 + 4, true);
      // lane += input × P2
      const productLow = Math.imul(low, P2[1]);
      const productHigh = (upper(low, P2[1]) + Math.imul(low, P2[0]) + Math.imul(high, P2[1])) | 0;
      const sum = (state[lane * 2 + 1]! >>> 0) + (productLow >>> 0);
      const sumLow = sum | 0;
      const sumHigh = (state[lane * 2]! + productHigh + (sum > 0xffffffff ? 1 : 0)) | 0;
      // rotate by 31, then × P1
      const turnedHigh = (sumHigh << 31) | (sumLow >>> 1);
      const turnedLow = (sumLow << 31) | (sumHigh >>> 1);
      state[lane * 2 + 1] = Math.imul(turnedLow, P1[1]);
      state[lane * 2] =
        (upper(turnedLow, P1[1]) + Math.imul(turnedLow, P1[0]) + Math.imul(turnedHigh, P1[1])) | 0;
    }
  }

  merged(): Pair {
    const lane = (index: number): Pair => [this.#state[index * 2]!, this.#state[index * 2 + 1]!];
    let h = add(add(rotate(lane(0), 1), rotate(lane(1), 7)), add(rotate(lane(2), 12), rotate(lane(3), 18)));
    for (let index = 0; index < 4; index++) {
      const k = multiply(rotate(multiply(lane(index), P2), 31), P1);
      h = add(multiply(xor(h, k), P1), P4);
    }
    return h;
  }
}

/** The high 32 bits of the product of two numbers of 32. */
function upper(a: number, b: number): number {
  const [aHigh, aLow, bHigh, bLow] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const other = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(other / 65536)) | 0;
}

function multiply(a: Pair, b: Pair): Pair {
  return [(upper(a[1], b[1]) + Math.imul(a[1], b[0]) + Math.imul(a[0], b[1])) | 0, Math.imul(a[1], b[1])];
}

function add(a: Pair, b: Pair): Pair {
  const low = (a[1] >>> 0) + (b[1] >>> 0);
  return [(a[0] + b[0] + (low > 0xffffffff ? 1 : 0)) | 0, low | 0];
}

function negate(a: Pair): Pair {
  return add([~a[0], ~a[1]], [0, 1]);
}

function xor(a: Pair, b: Pair): Pair {
  return [a[0] ^ b[0], a[1] ^ b[1]];
}

/** To the left; `by` from 1 to 31. */
function rotate([high, low]: Pair, by: number): Pair {
  return [(high << by) | (low >>> (32 - by)), (low << by) | (high >>> (32 - by))];
}

/** To the right; `by` from 29 to 33. */
function shift([high, low]: Pair, by: number): Pair {
  if (by >= 32) return [0, high >>> (by - 32)];
  return [high >>> by, (low >>> by) | (high << (32 - by))];
}
