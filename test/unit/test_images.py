"""Images are scaled and their colours converted as a camera of that size would see it."""

from __future__ import annotations

import numpy as np
import pytest

from planet_ros.data.images import fit_image


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)


def test_what_fits_is_given_as_it_is() -> None:
    image = noise(6, 4, 3)
    assert fit_image(image, (6, 4, 3)) is image


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pixel_is_the_mean_of_the_area_it_covers(channels: int) -> None:
    image = noise(12, 8, channels)
    blocks = image.reshape(4, 3, 4, 2, channels).astype(float)
    found = fit_image(image, (4, 4, channels))
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, blocks.mean(axis=(1, 3)), atol=1)


def test_colours_become_luma_and_grey_becomes_all_three() -> None:
    image = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_array_equal(fit_image(image, (1, 3, 1)).ravel(), [76, 150, 29])
    grey = noise(2, 3, 1)
    np.testing.assert_array_equal(fit_image(grey, (2, 3, 3)), np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("shape", [(6, 4, 3), (3, 2, 3), (3, 2, 1)])
def test_views_that_are_not_contiguous_are_taken(shape: tuple[int, int, int]) -> None:
    view = noise(6, 4, 3)[:, :, ::-1]
    found = fit_image(view, shape)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, fit_image(view.copy(), shape))
