import type { RuntimeTraits } from '../../engine/runtime.ts';

export const microvmTraits: RuntimeTraits = { ownKernel: true, idMap: true, bootsInit: false };
