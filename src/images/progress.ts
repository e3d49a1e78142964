import { shortId } from '../lib/ids.ts';
import type { Progress } from './images.ts';
import type { LayerEvent, LayerSpec } from './layer-work.ts';

/** Milliseconds between two lines of a moving bar: more would only burden the connection. */
const interval = 100;

/** Turns the events of one layer into Docker's lines, in their order and each state once. */
export function layerLines(layer: LayerSpec, emit: (line: Progress) => void): (event: LayerEvent) => void {
  const id = shortId(layer.digest);
  let last = Number.NEGATIVE_INFINITY;
  let moving = '';
  let verified = false;
  const bar = (status: string, current: number) => {
    const now = performance.now();
    if (status === moving && now - last < interval && current < layer.size) return;
    [moving, last] = [status, now];
    emit({ status, id, progressDetail: { current, total: layer.size } });
  };
  return (event) => {
    switch (event.kind) {
      case 'waiting':
        return emit({ status: 'Waiting', id, progressDetail: {} });
      case 'downloading':
        return bar('Downloading', event.current);
      case 'retrying':
        return emit({
          status: `Retrying in ${event.seconds} second${event.seconds === 1 ? '' : 's'}`,
          id,
          progressDetail: {},
        });
      case 'downloaded':
        if (moving === 'Downloading') emit({ status: 'Verifying Checksum', id, progressDetail: {} });
        if (!verified) emit({ status: 'Download complete', id, progressDetail: {} });
        verified = true;
        return;
      case 'extracting':
        // A layer is unpacked while it comes; the bar of its download is the one to show until that ends.
        return verified ? bar('Extracting', event.current) : undefined;
      case 'complete':
        return emit({ status: 'Pull complete', id, progressDetail: {} });
    }
  };
}
