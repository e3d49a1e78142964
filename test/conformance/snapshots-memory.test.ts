import { memoryImages } from '../fixtures/memory-images.ts';
import { snapshotsConformance } from './snapshots.ts';

snapshotsConformance('the fake of the image tests', false, async () => {
  const memory = await memoryImages();
  return { snapshots: memory.snapshots, dispose: () => memory[Symbol.asyncDispose]() };
});
