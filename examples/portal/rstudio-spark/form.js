'use strict';

// A driver alone on its node needs a second node for the workers.
(() => {
  const field = (name) => document.getElementById(`batch_connect_session_context_${name}`);
  const nodes = field('nodes');
  const driverOnly = field('driver_only');
  if (!nodes || !driverOnly) return;

  const update = () => {
    const alone = Number(nodes.value) < 2;
    driverOnly.disabled = alone;
    if (alone) driverOnly.checked = false;
  };

  nodes.addEventListener('input', update);
  update();
})();
