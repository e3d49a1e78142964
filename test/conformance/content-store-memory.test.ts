import { memoryImages } from '../fixtures/memory-images.ts';
import { contentStoreConformance } from './content-store.ts';

contentStoreConformance('the store in memory', async () => {
  const memory = await memoryImages();
  return { content: memory.content, dispose: () => memory[Symbol.asyncDispose]() };
});
