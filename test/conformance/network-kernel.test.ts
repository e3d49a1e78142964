import { openNetwork } from '../fixtures/network.ts';
import { networkConformance } from './network.ts';

networkConformance('the kernel', () => openNetwork({ pool: 2 }));
