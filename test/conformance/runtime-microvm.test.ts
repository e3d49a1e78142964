import { microvmFixture } from '../fixtures/microvm.ts';
import { runtimeConformance } from './runtime.ts';

runtimeConformance('microvm', microvmFixture);
