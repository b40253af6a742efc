"""What is tested: releases, models, devices, configs, and the words for what came of it."""
